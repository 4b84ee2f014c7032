"""What an archive asks of a store, asked of each: a directory, and a bucket of a real server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.archive_s3 import S3Store
from shared.archive_store import LocalStore, Store, open_store
from shared.errors import Misconfigured
from tests.support.seaweed import Seaweed, new_archive

WRITERS = 8


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind, that has the folder `data`."""
    if request.param == "directory":
        store: Store = open_store(tmp_path / "it's one")
    else:
        server: Seaweed = request.getfixturevalue("bucket_server")
        store = open_store(new_archive(), server.environ)
    store.make("data")
    return store


def test_a_name_is_created_once(store: Store) -> None:
    """Of all who create a name one succeeds, the others are told, and its content stays."""

    def create(writer: int) -> bool:
        try:
            store.create("data/one", f"by {writer}".encode())
        except FileExistsError:
            return False
        return True

    for _ in range(10):
        with ThreadPoolExecutor(WRITERS) as pool:
            won = list(pool.map(create, range(WRITERS)))
        assert won.count(True) == 1
        assert store.read("data/one") == f"by {won.index(True)}".encode()
        store.remove("data/one")


def test_what_is_there_is_listed(store: Store) -> None:
    """Files with their time, folders by name; what is not there is empty, absent, or an error."""
    assert (store.names("data"), store.names("nowhere"), store.within("no").folders()) == ([], [], [])
    store.within("p00").make("data")
    store.within("p00").create("data/a", b"1")
    store.create("data/b", b"22")
    store.replace("c", b"333")
    (entry,) = store.entries("data")
    assert entry.name == "b"
    assert abs(entry.made_s - time.time()) < 3600
    assert store.names("data") == ["b"]
    assert store.folders() == ["data", "p00"]
    assert store.within("p00").names("data") == ["a"]
    assert store.within("p00").name == "p00"
    assert store.within("p00").location == store.location + "/p00"
    assert [store.exists(name) for name in ("c", "data/b", "d")] == [True, True, False]
    with pytest.raises(FileNotFoundError):
        store.read("data/none")


def test_what_is_removed_is_gone(store: Store) -> None:
    """And to remove it again is no error."""
    store.create("data/a", b"1")
    store.remove("data/a")
    store.remove("data/a")
    assert not store.exists("data/a")
    assert store.names("data") == []


def test_a_piece_is_part_of_the_content(store: Store) -> None:
    """From its offset on, of its length; there is none of what is not there."""
    store.create("data/one", bytes(range(200)))
    assert store.piece("data/one", 190, 10) == bytes(range(190, 200))
    assert store.piece("data/one", 0, 1) == b"\0"
    with pytest.raises(FileNotFoundError):
        store.piece("data/none", 0, 1)


def test_a_replaced_file_has_the_new_content(store: Store) -> None:
    """Whether it was there or not."""
    for content in (b"old", b"newer"):
        store.replace("readme", content)
        assert store.read("readme") == content


def test_a_copy_outlives_its_first_name(store: Store) -> None:
    """It can be made again, and nothing changes."""
    aside = store.within("aside")
    aside.make("data")
    store.create("data/a", b"kept")
    for _ in range(2):
        store.copy("data/a", aside, "data/a")
    aside.settle("data")
    store.remove("data/a")
    assert aside.read("data/a") == b"kept"


def test_duckdb_reads_what_is_there(store: Store) -> None:
    """The location and a name are an address for it, once it is prepared."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": list(range(1000))}), sink)
    store.create("data/numbers.parquet", sink.getvalue().to_pybytes())
    with duckdb.connect() as db:
        store.prepare(db)
        address = f"{store.location}/data/numbers.parquet"
        assert db.execute("SELECT sum(n) FROM read_parquet($file)", {"file": address}).fetchone() == (499500,)


def test_points_of_a_write(store: Store) -> None:
    """Whoever kills a writer at a named point finds the point in each store."""
    reached: list[str] = []
    store.create("data/a", b"1", reached.append)
    assert [point for point in reached if point in {"data-written", "data-linked"}] == [
        "data-written",
        "data-linked",
    ]


def test_an_answer_that_was_lost_is_no_conflict(bucket_server: Seaweed) -> None:
    """A PUT that is sent again because its answer did not come finds its own content: that is success."""
    store = open_store(new_archive(), bucket_server.environ)
    store.create("data/a", b"mine")
    store.create("data/a", b"mine")
    with pytest.raises(FileExistsError):
        store.create("data/a", b"other")


def test_a_refused_key_is_an_error_of_the_store(bucket_server: Seaweed) -> None:
    """Like a disk that refuses: whoever writes tries again and says why."""
    store = open_store("s3://archive/x", {**bucket_server.environ, "AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(OSError, match="data/a") as refused:
        store.create("data/a", b"1")
    assert not isinstance(refused.value, FileExistsError | FileNotFoundError)


@pytest.mark.parametrize(
    ("location", "environ"),
    [
        ("gs://bucket/x", {}),
        ("s3://", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}),
        ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": "a"}),
    ],
)
def test_a_location_that_is_none_is_refused(location: str, environ: dict[str, str]) -> None:
    """With a sentence that says what is missing."""
    with pytest.raises(Misconfigured):
        open_store(location, environ)


def test_locations(tmp_path: Path) -> None:
    """A directory by its path, a bucket by its address."""
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    bucket = open_store("s3://bucket/some/where/", environ)
    assert isinstance(bucket, S3Store)
    assert (bucket.location, bucket.name) == ("s3://bucket/some/where", "where")
    assert bucket.within("p00").location == "s3://bucket/some/where/p00"
    assert open_store("s3://bucket", environ).within("p00").location == "s3://bucket/p00"
    local = open_store(str(tmp_path))
    assert isinstance(local, LocalStore)
    assert open_store(local) is local


def test_a_refused_write_leaves_nothing(tmp_path: Path) -> None:
    """When the disk says no, neither a half file nor its temporary name stays."""
    store = LocalStore(tmp_path)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "full").touch()
    with pytest.raises(OSError, match="directory"):
        store.replace("target", b"content")
    with pytest.raises(FileExistsError):
        store.create("target", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
