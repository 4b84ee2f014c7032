"""What a query's process can ask the archiver for: pieces of its own files, so many, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archiver import sandbox_files
from archiver.sandbox_files import (
    ANSWER,
    HERE,
    PIECE_BYTES_MAX,
    REFUSED,
    REQUEST,
    File,
    Files,
    Links,
    Windows,
    address,
)
from archiver.sandbox_reads import CHARGE_BYTES_MIN, Reads
from archiver.threads import Threads
from shared.archive_store import LocalStore
from shared.errors import QueryLimit, Unavailable
from tests.support.sandboxes import answer, job_for, sandbox, steal_from
from tests.support.waiting import eventually

CONTENT = random.Random(5).randbytes(9_000_000)
SECRET = b"not of this query"


class Distant(LocalStore):
    """A directory that a query's process may not open, as a bucket is; a piece of it may be held up."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.asked = 0
        self.gate: list[int] = []

    @property
    def is_far(self) -> bool:
        return True

    def piece(self, name: str, offset: int, length: int) -> bytes:
        self.asked += 1
        if self.gate:
            os.read(self.gate[0], 1)
        return super().piece(name, offset, length)


@pytest.fixture
def store(tmp_path: Path) -> Distant:
    """Two files; a query has the first."""
    (tmp_path / "mine").write_bytes(CONTENT)
    (tmp_path / "other").write_bytes(SECRET)
    return Distant(tmp_path)


@contextlib.asynccontextmanager
async def reading(store: Distant, *, bytes_max: int = 10**9) -> AsyncIterator[tuple[list[int], list[str]]]:
    """Descriptors of a process's ends, and what was said of a bound."""
    threads = Threads("test", 2)
    said: list[str] = []
    reads = Reads(store, threads, links=3, bytes_max=bytes_max)
    theirs = [os.dup(descriptor) for descriptor in reads.descriptors]
    reads.handed_over()
    reads.begin([f"{store.location}/mine"], [len(CONTENT)], lambda: said.append("exceeded"))
    try:
        yield theirs, said
    finally:
        await reads.end()
        await asyncio.to_thread(threads.close)


async def asked(link: socket.socket, *request: int) -> tuple[bytes, bytes]:
    """One question on a socket that does not block."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(link, REQUEST.pack(*request))
    head = b""
    while len(head) < ANSWER.size:
        head += await loop.sock_recv(link, ANSWER.size - len(head))
    kind, size = ANSWER.unpack(head)
    body = b""
    while len(body) < size:
        body += await loop.sock_recv(link, size - len(body))
    return kind, body


@pytest.mark.parametrize("room", [0, 200_000, 10**9])
async def test_any_reading_gives_the_content(
    store: Distant, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever one seeks and however much one reads, it is the file, whatever is kept of it."""
    monkeypatch.setattr(sandbox_files, "WINDOWS_BYTES_MAX", room)

    def read(descriptors: list[int]) -> None:
        rng = random.Random(7)
        file = File(Windows(Links(descriptors)), 0, len(CONTENT))
        for _ in range(300):
            at, size = rng.randrange(len(CONTENT) + 10), rng.choice((1, 100, 70_000, 5_000_000, -1))
            assert file.seek(at) == at
            assert file.read(size) == (CONTENT[at:] if size < 0 else CONTENT[at : at + size])

    async with reading(store) as (descriptors, _):
        await asyncio.to_thread(read, descriptors)


async def test_what_is_near_is_not_asked_for_again(store: Distant) -> None:
    """By whichever reader: neither what follows, nor a footer."""

    def read(descriptors: list[int]) -> None:
        windows = Windows(Links(descriptors))
        for _ in range(2):
            file = File(windows, 0, len(CONTENT))
            for at in range(0, 50_000, 1_000):
                file.seek(at)
                assert file.read(100) == CONTENT[at : at + 100]
            file.seek(-8, 2)
            file.read(8)
            file.seek(-100_000, 2)
            assert file.read(99_992) == CONTENT[-100_000:-8]
        assert store.asked == 2

    async with reading(store) as (descriptors, _):
        await asyncio.to_thread(read, descriptors)


@pytest.mark.parametrize(
    "request_",
    [
        (1, 0, 10),
        (2**32 - 1, 0, 10),
        (0, len(CONTENT), 1),
        (0, len(CONTENT) - 1, 2),
        (0, 2**64 - 1, 10),
        (0, 0, 0),
        (0, 0, PIECE_BYTES_MAX + 1),
        (0, 0, 2**32 - 1),
    ],
)
async def test_what_is_not_its_own_is_refused(store: Distant, request_: tuple[int, int, int]) -> None:
    """Another file, bytes beyond the end, none or too many: nothing is fetched, and it goes on."""
    async with reading(store, bytes_max=2**40) as (descriptors, said):
        with socket.socket(fileno=descriptors[0]) as link:
            link.setblocking(False)
            assert await asked(link, *request_) == (REFUSED, b"")
            assert store.asked == 0
            assert await asked(link, 0, 5, 10) == (HERE, CONTENT[5:15])
        assert not said


async def test_a_flood_ends_at_its_bound(store: Distant) -> None:
    """The smallest questions count, too, and those that are refused; beyond the bound nothing is fetched."""
    async with reading(store, bytes_max=10 * CHARGE_BYTES_MIN) as (descriptors, said):
        with socket.socket(fileno=descriptors[0]) as link:
            link.setblocking(False)
            kinds = [(await asked(link, number % 2, 0, 1))[0] for number in range(20)]
        assert kinds == [HERE, REFUSED] * 5 + [REFUSED] * 10
        assert store.asked == 5
        assert "exceeded" in said


async def test_who_does_not_read_answers_gets_no_more(store: Distant) -> None:
    """Questions that are sent without end wait in the sockets: the archiver holds one answer, and goes on."""
    async with reading(store) as (descriptors, _):
        with socket.socket(fileno=descriptors[0]) as link, socket.socket(fileno=descriptors[1]) as other:
            link.setblocking(False)
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    link.send(REQUEST.pack(0, 0, 1_000_000) * 1000)
                    await asyncio.sleep(0)
            for _ in range(20):
                assert (await asked(other, 0, 5, 10))[1] == CONTENT[5:15]
            assert store.asked < 40


@pytest.fixture
def archive(tmp_path: Path) -> Distant:
    """Something to steal, out of reach."""
    return Distant(steal_from(tmp_path / "archive"))


async def test_a_process_that_reads_without_end(archive: Distant) -> None:
    """It is ended, its bound is named, and the next query is answered."""
    greedy = "while True: files._links.read(1, 0, 4)"
    async with sandbox(archive, sql_read_bytes=300 * CHARGE_BYTES_MIN) as opened:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("archiver.sandbox.MODULE", "tests.support.unchecked_child")
            with pytest.raises(QueryLimit) as caught:
                await answer(opened, job_for(archive, json.dumps([greedy]), "arrow"))
            await (await opened.take()).kill()
        assert caught.value.limit == "reads"
        assert archive.asked <= 300
        await (await opened.take()).kill()
        found = await answer(opened, job_for(archive, "SELECT count(*) AS n FROM events"))
        assert json.loads(found) == {"n": 12}


async def test_a_process_that_asks_for_others(archive: Distant) -> None:
    """Whatever code runs in it, the sockets give it the files of its query, and say nothing of others."""
    tries = [
        f"import os\nassert len(files._sizes) == 2\nfiles._links.read({number}, {offset}, {length})"
        for number, offset, length in ((2, 0, 4), (1, 10**9, 4), (1, 0, 10**9))
    ]
    tries += [f"files.open({address(2)!r})", f"files.open({address(1)!r}, 'wb')", "files.open('/etc/passwd')"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("archiver.sandbox.MODULE", "tests.support.unchecked_child")
        async with sandbox(archive) as opened:
            job = job_for(archive, json.dumps(["files._links.read(1, 0, 4)", *tries]), "arrow")
            control, *found = json.loads(await answer(opened, job))
    assert control == "done"
    assert all("PermissionError" in one or "FileNotFoundError" in one for one in found), found
    assert archive.asked == 1


async def test_a_query_that_is_killed_leaves_nothing(archive: Distant) -> None:
    """In the middle of a piece: no task, no socket, and the thread is free with its store's answer."""
    async with sandbox(archive) as opened:
        before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        archive.gate[:] = os.pipe()
        child = await opened._prepare()
        child.ask(job_for(archive, "SELECT count(*) FROM events"))
        await eventually(lambda: archive.asked > 0)
        killing = asyncio.create_task(child.kill())
        os.close(archive.gate[1])
        await killing
        os.close(archive.gate.pop(0))
        archive.gate.clear()
        await eventually(lambda: (len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())) == before)
        found = await answer(opened, job_for(archive, "SELECT count(*) AS n FROM events"))
        assert json.loads(found) == {"n": 12}


async def test_a_store_that_refuses_is_said(archive: Distant) -> None:
    """A bucket that fails is no fault of the query."""
    job = job_for(archive, "SELECT count(*) FROM messages")
    segment = archive.directory / "p00" / "data" / Path(job["files"][-1]).name
    async with sandbox(archive) as opened:
        segment.rename(segment.with_suffix(".away"))
        with pytest.raises(Unavailable) as caught:
            await answer(opened, job)
        assert "parquet" not in caught.value.message


async def test_files_are_those_of_the_query(store: Distant) -> None:
    """A number that it has not is no file, patterns find nothing, nothing is written."""
    async with reading(store) as (descriptors, _):
        files = Files(Links(descriptors), [len(CONTENT)])
        assert files.glob(address(0)) == [address(0)]
        assert files.glob("parley://*") == []
        assert not files.exists(address(1))
        with pytest.raises(FileNotFoundError):
            files.open(address(1))
        for mode in ("wb", "ab", "r+b"):
            with pytest.raises(PermissionError):
                files.open(address(0), mode)
