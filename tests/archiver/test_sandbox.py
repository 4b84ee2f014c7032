"""Attacks on the sandbox, through the front and with its first walls taken away: all are refused or killed.

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
from archiver.sandbox_query import run
from shared.archive_files import pin
from shared.errors import BadRequest, ParleyError, QueryLimit, Unavailable
from tests.support.sandboxes import answer, job_for, sandbox, steal_from
from tests.support.waiting import eventually

SPIN = "SELECT count(*) FROM range(100000000000) a, range(100000) b WHERE a.range % 7 = b.range % 5"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """An archive that must be the same afterwards, to the byte; and nothing new beside it."""
    directory = steal_from(tmp_path / "archive")
    before = _digests(tmp_path)
    yield directory
    assert _digests(tmp_path) == before


def _digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def attacks(directory: Path) -> dict[str, str]:
    """What a stranger would try, by name."""
    victim = pin(directory).files[-1]
    return {
        "read a file": "SELECT content FROM read_text('/etc/passwd')",
        "read any file by name": "SELECT * FROM '/etc/passwd.csv'",
        "read the server's environment": "SELECT content FROM read_text('/proc/self/environ')",
        "list a folder": "SELECT * FROM glob('/*')",
        "write a file": "COPY (SELECT 1 AS a) TO '/tmp/parley-evil.csv'",
        "write beside the archive": f"COPY (SELECT 1 AS a) TO '{directory.parent}/evil.parquet'",
        "add to the archive": f"COPY (SELECT 1 AS a) TO '{directory}/p00/data/evil.parquet'",
        "overwrite a segment": f"COPY (SELECT 1 AS a) TO '{victim}' (FORMAT parquet, USE_TMP_FILE false)",
        "truncate a segment": f"COPY (SELECT 1 WHERE false) TO '{victim}' (FORMAT csv, USE_TMP_FILE false)",
        "attach a database": f"ATTACH '{directory}/evil.db'",
        "export": f"EXPORT DATABASE '{directory.parent}/evil'",
        "load an extension": "LOAD httpfs",
        "install an extension": "INSTALL httpfs",
        "load a library": "LOAD '/lib/x86_64-linux-gnu/libc.so.6'",
    }


def test_through_the_front(archive: Path) -> None:
    """Each attack is refused as no SELECT over the views."""
    for attack in attacks(archive).values():
        with pytest.raises(BadRequest):
            run(job_for(archive, attack), [].append, memory_bytes=2 * 1024**3, threads=1)


async def test_a_refusal_ends_nothing(archive: Path) -> None:
    """What a process refuses is told with its reason, and the next query is answered."""
    async with sandbox(archive) as opened:
        with pytest.raises(BadRequest, match="read_text is not allowed"):
            await answer(opened, job_for(archive, attacks(archive)["read a file"]))
        found = await answer(opened, job_for(archive, "SELECT text FROM messages ORDER BY seq LIMIT 1"))
        assert json.loads(found) == {"text": "17"}


async def outcomes(archive: Path, attempts: Iterable[str], form: str) -> list[str]:
    """What becomes of each in a sandbox without its first walls."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("archiver.sandbox.MODULE", "tests.support.unchecked_child")
        async with sandbox(archive) as opened:
            job = job_for(archive, json.dumps(["SELECT 1" if form != "arrow" else "pass", *attempts]), form)
            control, *found = json.loads(await answer(opened, job))
    assert control == "done"
    return [str(one) for one in found]


async def test_where_the_parser_is_blind(archive: Path) -> None:
    """Without the check of statements the locked settings refuse; what they let through, the kernel does."""
    found = await outcomes(archive, attacks(archive).values(), "json")
    assert "done" not in found, dict(zip(attacks(archive), found, strict=True))


async def test_where_duckdb_is_open(archive: Path) -> None:
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
    "import socket; socket.create_connection(('127.0.0.1', 1))",
    "import socket; socket.create_server(('127.0.0.1', 0))",
    "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
    "import os; os.kill(os.getppid(), 19)",
)


async def test_where_any_code_runs(archive: Path) -> None:
    """Whoever had broken out of DuckDB would hold nothing: no file, no socket, no program, no signal."""
    victim = repr(pin(archive).files[-1])
    found = await outcomes(archive, (code.replace("VICTIM", victim) for code in PYTHON), "arrow")
    assert all("PermissionError" in one for one in found), dict(zip(PYTHON, found, strict=True))


async def test_no_secrets_are_in_reach(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_what_is_too_much_is_ended(archive: Path, query: str, limit: str) -> None:
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


async def test_time_is_up(archive: Path) -> None:
    """Whatever it does then, it is killed."""
    async with sandbox(archive, sql_cpu_s=1000) as opened:
        child = await opened.take()
        child.ask(job_for(archive, SPIN))
        asyncio.get_running_loop().call_later(0.1, child.expire)
        with pytest.raises(QueryLimit) as caught:
            await child.frame()
        assert caught.value.limit == "time"


async def test_it_waits_for_its_reader(archive: Path) -> None:
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


async def test_a_spare_that_died_is_no_loss(archive: Path) -> None:
    """If the process that waited was killed, another one is started."""
    async with sandbox(archive) as opened:
        opened.prepare()
        assert opened._spare is not None
        child = await opened._spare
        os.kill(child._process.pid, 9)
        await child._process.wait()
        assert json.loads(await answer(opened, job_for(archive, "SELECT 1 AS a"))) == {"a": 1}


async def test_a_missing_wall_is_said(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Landlock, an archiver that is not root: queries are refused, and it says why."""
    monkeypatch.setattr("archiver.sandbox.MODULE", "tests.support.unwalled_child")
    async with sandbox(archive) as opened:
        with pytest.raises(Unavailable, match="PARLEY_SQL_UNCONFINED"):
            await opened.take()
    async with sandbox(archive, sql_unconfined=True) as opened:
        assert json.loads(await answer(opened, job_for(archive, "SELECT 1 AS a"))) == {"a": 1}


async def test_files_that_are_gone_are_no_secret(archive: Path) -> None:
    """An error of the disk is told without the names of files."""
    job = job_for(archive, "SELECT count(*) FROM events")
    job["files"] = [f"{archive}/p00/data/gone.parquet"]
    async with sandbox(archive) as opened:
        with pytest.raises(ParleyError) as caught:
            await answer(opened, job)
    assert "gone" not in caught.value.message
