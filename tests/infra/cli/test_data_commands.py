"""The data commands against a running system, as a person types them: what they print and how they end."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.local_system import LocalSystem

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system whose channel `tea` has four events: two messages by `me`, after bob has joined."""
    started = LocalSystem(
        tmp_path_factory.mktemp("data"),
        *("--partitions", "2", "--durability", "process", "--env.PARLEY_FLUSH_INTERVAL_S", "0.5"),
    )
    started.start()
    started.parley("send", "tea", "shall we?", "--create")
    started.parley("send", "tea", "[b]yes[/b]", "--user", "bob", "--join")
    yield started
    started.stop()


def lines(text: str) -> list[dict[str, object]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def refused(system: LocalSystem, *words: str) -> str:
    """What a command says that must end with 1."""
    done = system.parley(*words, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    return " ".join(done.stderr.split())


def test_history_and_tail_show_the_same(system: LocalSystem) -> None:
    """The events by number, as the server sent them; from where one asks; markup is text."""
    past = lines(system.parley("history", "tea", "--json").stdout)
    assert [event["seq"] for event in past] == [1, 2, 3, 4]
    live = lines(system.parley("tail", "tea", "--since", "0", "--limit", "4", "--json").stdout)
    assert live == past
    newest = lines(system.parley("history", "tea", "--limit", "1", "--json").stdout)
    assert newest == past[-1:]
    middle = lines(system.parley("history", "tea", "--after", "1", "--limit", "2", "--json").stdout)
    assert middle == past[1:3]
    near = lines(system.parley("history", "tea", "--around", "3", "--limit", "2", "--json").stdout)
    assert near == past[1:3]
    shown = system.parley("history", "tea").stdout.splitlines()
    assert shown[-1].endswith("tea #4 bob [b]yes[/b]")


def test_search_shows_what_was_said(system: LocalSystem) -> None:
    """Place, author and text; what is wrong in the query is shown; only what may be read is found."""
    found = lines(system.parley("search", "from:bob yes", "--json").stdout)
    assert [(hit["channel"], hit["seq"], hit["author"]) for hit in found] == [("tea", 4, "bob")]
    shown = system.parley("search", "shall").stdout.splitlines()
    assert shown[0] == "1 message"
    assert shown[1].endswith("tea #2 me shall we?")
    assert system.parley("search", "nobody-said-this").stdout.splitlines() == ["0 messages"]
    assert "(at character 5: form:bob)" in refused(system, "search", "yes form:bob")
    newest = lines(system.parley("search", "in:tea", "--limit", "1", "--json").stdout)
    assert [hit["seq"] for hit in newest] == [4]


def test_search_indexes_are_made_anew(system: LocalSystem) -> None:
    """As the operator, whom the servers let; what was found is found again."""
    before = system.parley("search", "shall").stdout
    made = system.parley("search", "--rebuild").stdout
    assert made.endswith(" search indexes made anew\n")
    assert system.parley("search", "shall").stdout == before


def test_what_the_server_refuses_is_said(system: LocalSystem) -> None:
    """Its code and its sentence, and exit code 1; nothing was sent."""
    assert "not_found" in refused(system, "send", "nowhere", "hi")
    assert "forbidden" in refused(system, "send", "tea", "hi", "--user", "eve")
    assert "conflict" in refused(system, "send", "tea", "hi", "--create", "--user", "eve")
    assert "404" in refused(system, "history", "p_000000000000000000000000")
    assert "give one of" in refused(system, "history", "tea", "--before", "3", "--after", "1")
    assert "unauthorized" in refused(system, "send", "tea", "hi", "--token", "a.b.c")
    past = lines(system.parley("history", "tea", "--json").stdout)
    assert len(past) == 4


def test_verify_proves_it_and_sql_reads_it(system: LocalSystem) -> None:
    """Nothing differs: exit code 0; then the archive holds every event once, in each format."""
    assert "nothing differs" in system.parley("verify").stdout
    query = "select channel, seq, author from events where kind = 'message.posted' order by seq"
    rows = lines(system.parley("sql", query, "--format", "json").stdout)
    wanted = [("tea", 2, "me"), ("tea", 4, "bob")]
    assert [(row["channel"], row["seq"], row["author"]) for row in rows] == wanted
    table = system.parley("sql", query, "--format", "csv").stdout.splitlines()
    assert table == ["channel,seq,author", "tea,2,me", "tea,4,bob"]
    cut = system.parley("sql", query, "--limit", "1").stdout
    assert "only the first 1 rows" in cut
    assert "nosuch" in refused(system, "sql", "select nosuch from events")
    command = system.command("-c", "from infra.cli import main; main()", "sql", query, "--format", "arrow")
    arrow = subprocess.run(command, capture_output=True, check=True).stdout
    assert pa.ipc.open_stream(arrow).read_all().column("seq").to_pylist() == [2, 4]


def test_a_user_asks_in_sql(system: LocalSystem) -> None:
    """What they may read, in every form but Parquet; what is refused is said, and silence, too."""
    assert "nothing differs" in system.parley("verify").stdout
    query = "select channel, seq, author from messages where channel = 'tea' order by seq"
    rows = lines(system.parley("sql", query, "--as", "eve", "--format", "json").stdout)
    assert [(row["channel"], row["seq"], row["author"]) for row in rows] == [
        ("tea", 2, "me"),
        ("tea", 4, "bob"),
    ]
    table = system.parley("sql", query, "--as", "eve").stdout
    assert "author" in table
    assert "only the first 1 rows" in system.parley("sql", query, "--as", "eve", "--limit", "1").stdout
    csv = system.parley("sql", query, "--as", "eve", "--format", "csv").stdout.splitlines()
    assert csv == ["channel,seq,author", "tea,2,me", "tea,4,bob"]
    assert "not allowed here" in refused(
        system, "sql", "select * from read_text('/etc/passwd')", "--as", "eve"
    )
    assert "401 unauthorized" in refused(system, "sql", query, "--as", "eve", "--token", "a.b.c")
    assert "parquet" not in refused(system, "sql", query, "--as", "eve", "--format", "parquet")
    assert "does not answer" in refused(system, "sql", query, "--as", "eve", "--url", "http://127.0.0.1:9")


def test_a_channel_is_exported(system: LocalSystem, tmp_path: Path) -> None:
    """The lines are the history's; a Slack export of the workspace is imported again; nothing is replaced."""
    path = tmp_path / "tea.jsonl"
    done = system.parley("export", "tea", "--to", str(path))
    past = lines(system.parley("history", "tea", "--json").stdout)
    assert lines(path.read_text()) == past
    assert f"{len(past)} events of 1 channels" in done.stderr
    assert "--force" in refused(system, "export", "tea", "--to", str(path))
    system.parley("export", "--user", "bob", "--format", "parquet", "--to", str(path), "--force")
    assert path.read_bytes()[:4] == b"PAR1"
    archive = tmp_path / "all.zip"
    system.parley("export", "--all", "--format", "slack", "--to", str(archive))
    again = system.parley("import", "slack", str(archive), "--workspace", "copy").stdout
    assert "records that were skipped: none" in again
    assert "bob [b]yes[/b]" in system.parley("history", "tea", "--workspace", "copy").stdout
    for wrong in (("tea", "--all"), (), ("tea", "--user", "bob")):
        assert "one of them" in refused(system, "export", *wrong, "--to", str(tmp_path / "x"))
    assert "nowhere" in refused(system, "export", "nowhere", "--to", str(tmp_path / "x"))
    assert "whole channels" in refused(
        system, "export", "--user", "bob", "--format", "slack", "--to", str(tmp_path / "x")
    )
    assert not (tmp_path / "x").exists()


def test_an_export_is_imported_once(system: LocalSystem, tmp_path: Path) -> None:
    """A second run changes nothing; what is left out is counted; a file that is no zip is refused."""
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as export:
        channel = {"id": "C1", "name": "tea", "created": 1452837318, "creator": "U1", "members": ["U1"]}
        export.writestr("channels.json", json.dumps([channel]))
        message = {"type": "message", "ts": "1452837352.000006", "user": "U1", "text": "long ago"}
        export.writestr("tea/2016-01-15.json", json.dumps([message, {"type": "message", "user": "U1"}]))
    first = system.parley("import", "slack", str(path)).stdout
    assert "record without a usable ts" in first
    assert "nothing new" not in first
    assert "nothing new" in system.parley("import", "slack", str(path)).stdout
    assert "2016-01-15 05:55:52 C1 #2 U1 long ago" in system.parley("history", "C1").stdout
    path.write_bytes(b"no zip")
    assert "cannot be read as a zip" in refused(system, "import", "slack", str(path))
