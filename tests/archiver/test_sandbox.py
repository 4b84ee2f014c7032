"""Attacks on the sandbox, through the front and with its first walls taken away: all are refused or killed.

All of it over an archive in a directory, whose files the process opens, and over one in a bucket, of which it
asks the archiver for pieces.
`json` in the second half runs any SQL on the locked connection, `csv` on one with DuckDB's usual settings,
`arrow` any Python: see `tests.support.unchecked_child`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from archiver.sandbox import Child
from archiver.sandbox_files import address
from archiver.sandbox_query import run
from shared.archive_files import pin
from shared.archive_store import LocalStore, Store, open_store
from shared.errors import BadRequest, ParleyError, QueryLimit, Unavailable
from tests.support.sandboxes import answer, job_for, names, sandbox, steal_from, uploaded
from tests.support.seaweed import Seaweed, new_archive
from tests.support.waiting import eventually

SPIN = "SELECT count(*) FROM range(100000000000) a, range(100000) b WHERE a.range % 7 = b.range % 5"


@pytest.fixture(params=["directory", "bucket"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An archive that must be the same afterwards, to the byte; and nothing new beside it."""
    directory = steal_from(tmp_path / "archive")
    before = _digests(tmp_path)
    if request.param == "directory":
        yield LocalStore(directory)
    else:
        server: Seaweed = request.getfixturevalue("bucket_server")
        bucket = open_store(new_archive(), server.environ)
        yield uploaded(directory, bucket)
        assert sorted(names(bucket)) == sorted(names(LocalStore(directory)))
        assert all(bucket.read(name) == (directory / name).read_bytes() for name in names(bucket))
    assert _digests(tmp_path) == before


def _digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def victim_of(archive: Store) -> str:
    """A segment, by the name that the process has for it."""
    files = pin(archive).files
    return files[-1] if isinstance(archive, LocalStore) else address(len(files) - 1)


def attacks(archive: Store) -> dict[str, str]:
    """What a stranger would try, by name."""
    victim, directory = victim_of(archive), archive.location
    return {
        "read a file": "SELECT content FROM read_text('/etc/passwd')",
        "read any file by name": "SELECT * FROM '/etc/passwd.csv'",
        "read the server's environment": "SELECT content FROM read_text('/proc/self/environ')",
        "list a folder": "SELECT * FROM glob('/*')",
        "write a file": "COPY (SELECT 1 AS a) TO '/tmp/parley-evil.csv'",
        "write beside the archive": f"COPY (SELECT 1 AS a) TO '{directory}-evil.parquet'",
        "add to the archive": f"COPY (SELECT 1 AS a) TO '{directory}/p00/data/evil.parquet'",
        "overwrite a segment": f"COPY (SELECT 1 AS a) TO '{victim}' (FORMAT parquet, USE_TMP_FILE false)",
        "truncate a segment": f"COPY (SELECT 1 WHERE false) TO '{victim}' (FORMAT csv, USE_TMP_FILE false)",
        "attach a database": f"ATTACH '{directory}/evil.db'",
        "export": f"EXPORT DATABASE '{directory}-evil'",
        "read a file by another number": f"SELECT * FROM read_parquet('{address(99)}')",
        "create a file with a number": f"COPY (SELECT 1 AS a) TO '{address(99)}' (FORMAT csv)",
        "read through the network": "SELECT * FROM read_parquet('s3://archive/x.parquet')",
        "load an extension": "LOAD httpfs",
        "install an extension": "INSTALL httpfs",
        "load a library": "LOAD '/lib/x86_64-linux-gnu/libc.so.6'",
    }


def test_through_the_front(archive: Store) -> None:
    """Each attack is refused as no SELECT over the views."""
    for attack in attacks(archive).values():
        with pytest.raises(BadRequest):
            run(job_for(archive, attack), [].append, memory_bytes=2 * 1024**3, threads=1)


async def test_a_refusal_ends_nothing(archive: Store) -> None:
    """What a process refuses is told with its reason, and the next query is answered."""
    async with sandbox(archive) as opened:
        with pytest.raises(BadRequest, match="read_text is not allowed"):
            await answer(opened, job_for(archive, attacks(archive)["read a file"]))
        found = await answer(opened, job_for(archive, "SELECT text FROM messages ORDER BY seq LIMIT 1"))
        assert json.loads(found) == {"text": "17"}


async def outcomes(archive: Store, attempts: Iterable[str], form: str) -> list[str]:
    """What becomes of each in a sandbox without its first walls."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("archiver.sandbox.MODULE", "tests.support.unchecked_child")
        async with sandbox(archive) as opened:
            job = job_for(archive, json.dumps(["SELECT 1" if form != "arrow" else "pass", *attempts]), form)
            control, *found = json.loads(await answer(opened, job))
    assert control == "done"
    return [str(one) for one in found]


async def test_where_the_parser_is_blind(archive: Store) -> None:
    """Without the check of statements the locked settings refuse; what they let through, the kernel does."""
    found = await outcomes(archive, attacks(archive).values(), "json")
    assert "done" not in found, dict(zip(attacks(archive), found, strict=True))


async def test_where_duckdb_is_open(archive: Store) -> None:
    """Without any of DuckDB's settings the kernel refuses; names in folders that cannot be read are none."""
    tried = {name: attack for name, attack in attacks(archive).items() if name != "list a folder"}
    found = await outcomes(archive, tried.values(), "csv")
    assert "done" not in found, dict(zip(tried, found, strict=True))


PYTHON = (
    "open('/etc/passwd')",
    "open('/proc/self/environ')",
    "import os; open(f'/proc/{os.getppid()}/environ')",
    "open('/tmp/parley-evil', 'w')",
    "import os; os.truncate(VICTIM, 0)",
    "import os; os.unlink(VICTIM)",
    "import socket; socket.socket().connect(('127.0.0.1', 1))",
    "import socket; socket.create_server(('127.0.0.1', 0))",
    "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
    "import os; os.kill(os.getppid(), 19)",
)


async def test_where_any_code_runs(archive: Store, tmp_path: Path) -> None:
    """Whoever had broken out of DuckDB would hold nothing: no file, no socket, no program, no signal."""
    files = pin(archive).files
    victim = (
        repr(files[-1]) if isinstance(archive, LocalStore) else repr(str(tmp_path / "archive/archive.sql"))
    )
    found = await outcomes(archive, (code.replace("VICTIM", victim) for code in PYTHON), "arrow")
    assert all("PermissionError" in one for one in found), dict(zip(PYTHON, found, strict=True))


async def test_no_secrets_are_in_reach(archive: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the archiver, with its passwords, is not handed on."""
    monkeypatch.setenv("PARLEY_NATS_PASSWORD", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    known = "{'PYTHONPATH', 'LANG', 'LC_CTYPE'}"
    code = f"import os\nif os.environ.keys() - {known}: raise OSError(dict(os.environ))"
    assert await outcomes(archive, [code], "arrow") == ["done"]
    async with sandbox(archive) as opened:
        for query in (
            "SELECT getenv('PATH')",
            "SELECT current_setting('threads')",
            "SELECT getvariable('workspace')",
        ):
            with pytest.raises(BadRequest):
                await answer(opened, job_for(archive, query))


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("SELECT unnest(range(1000000000)), repeat('z', 1000)", "memory"),
        (
            "SELECT length(repeat('x', 2000000000) || repeat('x', 2000000000) || repeat('x', 2000000000))",
            "memory",
        ),
        ("SELECT range, repeat('x', 100) FROM range(1000000)", "output"),
        (SPIN, "cpu"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r", "cpu"),
    ],
)
async def test_what_is_too_much_is_ended(archive: Store, query: str, limit: str) -> None:
    """Memory, processor time and output are bounded; the answer names the bound, the process is gone."""
    async with sandbox(archive, sql_cpu_s=1 if limit == "cpu" else 1000) as opened:
        child = await opened.take()
        child.ask(job_for(archive, query))
        with pytest.raises(QueryLimit) as caught:
            await _read(child)
        assert caught.value.limit == limit
        await child.kill()
        assert not child.running
        assert json.loads(await answer(opened, job_for(archive, "SELECT 1 AS a"))) == {"a": 1}


async def _read(child: Child) -> None:
    while True:
        await child.frame()


async def test_time_is_up(archive: Store) -> None:
    """Whatever it does then, it is killed."""
    async with sandbox(archive, sql_cpu_s=1000) as opened:
        child = await opened.take()
        child.ask(job_for(archive, SPIN))
        asyncio.get_running_loop().call_later(0.1, child.expire)
        with pytest.raises(QueryLimit) as caught:
            await child.frame()
        assert caught.value.limit == "time"


async def test_it_waits_for_its_reader(archive: Store) -> None:
    """Nobody asks: the process blocks on its pipe, and the archiver holds one piece of gigabytes."""
    async with sandbox(archive, sql_output_bytes=10**10) as opened:
        child = await opened.take()
        child.ask(
            {**job_for(archive, "SELECT repeat('x', 1000) FROM range(100000000)"), "output_bytes": 10**11}
        )
        assert (await child.frame()).kind == b"D"
        assert child._process.stdout is not None
        await eventually(lambda: "pipe" in Path(f"/proc/{child._process.pid}/wchan").read_text())
        assert len(child._process.stdout._buffer) < 1_000_000  # type: ignore[attr-defined]
        await child.kill()


async def test_a_spare_that_died_is_no_loss(archive: Store) -> None:
    """If the process that waited was killed, another one is started."""
    async with sandbox(archive) as opened:
        opened.prepare()
        assert opened._spare is not None
        child = await opened._spare
        os.kill(child._process.pid, 9)
        await child._process.wait()
        assert json.loads(await answer(opened, job_for(archive, "SELECT 1 AS a"))) == {"a": 1}


async def test_a_missing_wall_is_said(archive: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Landlock, an archiver that is not root: queries are refused, and it says why."""
    monkeypatch.setattr("archiver.sandbox.MODULE", "tests.support.unwalled_child")
    async with sandbox(archive) as opened:
        with pytest.raises(Unavailable, match="PARLEY_SQL_UNCONFINED"):
            await opened.take()
    async with sandbox(archive, sql_unconfined=True) as opened:
        assert json.loads(await answer(opened, job_for(archive, "SELECT 1 AS a"))) == {"a": 1}


async def test_files_that_are_gone_are_no_secret(archive: Store) -> None:
    """An error of the disk is told without the names of files."""
    job = job_for(archive, "SELECT count(*) FROM events")
    job["files"], job["sizes"] = [f"{archive.location}/p00/data/gone.parquet"], [10_000]
    async with sandbox(archive) as opened:
        with pytest.raises(ParleyError) as caught:
            await answer(opened, job)
    assert "gone" not in caught.value.message
