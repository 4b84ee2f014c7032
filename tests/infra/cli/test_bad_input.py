"""Every command tells a person what is wrong in one place, and the shell by its exit code: never a traceback.

2: the command line itself is wrong; 1: it was understood and cannot be done; nothing has been changed.
"""

from __future__ import annotations

import contextlib
import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from infra.cli import access, main
from infra.local.credentials import load_or_create
from infra.local.lifeline import free_port

TOKEN = ("--token", "a.b.c")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory that has secrets, and where nothing runs; the command's log settings do not stay."""
    load_or_create(tmp_path / "credentials.json")
    for name in ("PARLEY_URL", "PARLEY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(access, "CONNECT_S", 0.3)
    before = structlog.get_config()
    yield tmp_path
    structlog.configure(**before)


def parley(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str]:
    """The exit code of a command and what it says on standard error."""
    monkeypatch.setattr(sys, "argv", ["parley", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return code, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nonsense", "nonsense"),
        ("token", "--user"),
        ("token --user ada --ttl soon", "--ttl"),
        ("send general", "TEXT"),
        ("export general", "--to"),
        ("export general --to x --format csv", "--format"),
        ("send general hi --thread 0", "--thread"),
        ("send general hi --bogus", "--bogus"),
        ("tail --limit 0", "--limit"),
        ("tail --since -1", "--since"),
        ("history", "CHANNEL"),
        ("history general --limit 0", "--limit"),
        ("history general --before 0", "--before"),
        ("history general --after x", "--after"),
        ("history general --after 9007199254740992", "--after"),
        ("sql", "QUERY"),
        ("sql select --format yaml", "--format"),
        ("verify --wait long", "--wait"),
        ("import msn x", "msn"),
        ("import slack", "FILE"),
        ("up --nats 2", "--nats"),
        ("up --edges 0", "--edges"),
        ("up --partitions 0", "--partitions"),
        ("up --port 70000", "--port"),
        ("up --durability hope", "--durability"),
        ("down --now", "--now"),
        ("status extra", "extra"),
        ("drain", "EDGE"),
        ("rebalance --partition -1", "--partition"),
        ("new-epoch", "--partition"),
        ("new-epoch --partition -1", "--partition"),
        ("rebalance --wait 0", "--wait"),
        ("bench --repetitions many", "--repetitions"),
    ],
)
def test_a_wrong_command_line_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    """Unknown commands and options, missing and impossible values: 2, with the word that is wrong."""
    code, error = parley(monkeypatch, capsys, *words.split())
    assert (code, said in error) == (2, True), error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("token", "--user", ""), "user id has 0 bytes"),
        (("token", "--user", "ada", "--workspace", "a.b"), "workspace id"),
        (("token", "--user", "ada", "--ttl", "0s"), "--ttl"),
        (("token", "--user", "ada", "--data", "/nowhere"), "parley up"),
        (("status",), "parley up"),
        (("nats-env",), "parley up"),
        (("rebalance",), "parley up"),
        (("new-epoch", "--partition", "0"), "parley up"),
        (("drain", "edge-1"), "parley up"),
        (("send", "general", "hi"), "parley up"),
        (("tail",), "parley up"),
        (("history", "general"), "parley up"),
        (("verify",), "parley up"),
        (("verify", "missing.bin"), "missing.bin cannot be read"),
        (("import", "slack", "missing.zip"), "parley up"),
        (("send", "general", "hi", "--url", "ftp://x", *TOKEN), "--url ftp://x"),
        (("tail", "--url", "http://", *TOKEN), "--url http://"),
        (("history", "general", "--url", "http://[", *TOKEN), "--url http://["),
        (("history", "general", "--url", "http://h:99999", *TOKEN), "--url http://h:99999"),
        (("sql", "select 1"), "no archive in"),
        (("sql", "selec 1"), "syntax error"),
        (("sql", "select 1; select 2"), "one statement"),
        (("sql", "drop table events"), "one SELECT"),
        (("sql", ""), "one statement"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:40],
)
def test_what_cannot_be_done_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """One line that begins with `error`, a code, and what to do: 1."""
    code, error = parley(monkeypatch, capsys, *words)
    assert (code, error.startswith("error "), said in error) == (1, True, True), error


@pytest.mark.parametrize("command", ["send general hi", "tail", "history general", "import slack export.zip"])
def test_nobody_there_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A person at a prompt is told that no edge answers, and where; a client in a service would go on."""
    url = f"http://127.0.0.1:{free_port()}"
    code, error = parley(monkeypatch, capsys, *command.split(), "--url", url, *TOKEN)
    assert (code, "error unavailable" in error, url.removeprefix("http://") in error) == (1, True, True)


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b"{}", b"7", b""])
@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_that_no_edge_gives_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int, body: bytes
) -> None:
    """A proxy's page in place of an edge's answer is an error with its status."""
    with answering(status, body) as url:
        code, error = parley(monkeypatch, capsys, "history", "general", "--url", url, *TOKEN)
    assert (code, str(status) in error) == (1, True), error


@pytest.mark.parametrize("dump", [b"", b"text", b"parley-verifier 1\n{}\n", bytes(range(256))])
def test_a_dump_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: Path, dump: bytes
) -> None:
    """`verify` says which file is no verifier's dump."""
    path = directory / "a.dump"
    path.write_bytes(dump)
    code, error = parley(monkeypatch, capsys, "verify", str(path))
    assert (code, f"{path} is no dump" in error) == (1, True), error


def test_a_place_that_takes_no_data_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    """`up` in a directory that cannot be one."""
    (directory / "file").touch()
    code, error = parley(monkeypatch, capsys, "up", "--data", str(directory / "file"), "--port", "0")
    assert (code, "cannot be a data directory" in error) == (1, True), error


def test_down_is_content_when_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is what was asked for: exit code 0."""
    monkeypatch.setattr(sys, "argv", ["parley", "down"])
    with contextlib.suppress(SystemExit):
        main()
    assert "does not run" in capsys.readouterr().out


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that says the same to everybody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
