"""What the server does on its disk before it answers, by its system calls: a configuration is only a promise.

strace names each write, fsync and fdatasync of the running server in the order in which they happened. A call
that began while another was unfinished is told apart from one that began after it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from infra.nats.config import Durability, NatsNode, server_config, write_config
from infra.nats.permissions import EDGE, SEQUENCER, USERS
from shared.bus import Bus, Draft
from shared.ids import StreamSeq
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.container import server_for_tests
from tests.support.nats import NatsServer
from tests.support.ports import own_port
from tests.support.storing import put
from tests.support.waiting import eventually

PUBLISHES = 20
SUBJECT = "channel.0.w.c"
PASSWORDS = {user: f"secret-{user}" for user in USERS}
CALLS = "fsync,fdatasync,write,writev,pwrite64"
STORED, SYNCED, ANSWERED = "stored", "synced", "answered"

_CALL = re.compile(r"(?P<thread>\d+) +(?P<call>(?:<\.\.\. )?\w+)(?P<rest>.*)")
_ANSWER = re.compile(r'\\"stream\\":\\"LOG_0\\", ?\\"seq\\":\d+')
_LOG_FILE = re.compile(r"/LOG_0/msgs/\d+\.blk>")


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@needs_strace
@pytest.mark.parametrize(
    ("durability", "for_each_message"),
    [("power", [STORED, SYNCED, ANSWERED]), ("process", [STORED, ANSWERED])],
)
async def test_what_happens_before_a_message_is_acknowledged(
    tmp_path: Path, durability: Durability, for_each_message: list[str]
) -> None:
    """`power`: written and synced, then answered, each message on its own; `process`: never synced."""
    async with _edge_of(tmp_path, durability) as (bus, pid), _traced(pid, tmp_path / "trace"):
        for number in range(PUBLISHES):
            await bus.commit(SUBJECT, b"message %d" % number)
    assert _steps((tmp_path / "trace").read_text()) == for_each_message * PUBLISHES


@needs_strace
async def test_a_batch_is_synced_once_before_its_answer(tmp_path: Path) -> None:
    """In `power`, what is committed together waits for one sync of the log, and is answered after it."""
    drafts = [
        Draft(SUBJECT, b"message %d" % number, f"id-{number}", {"X": "y"}) for number in range(PUBLISHES)
    ]
    async with _edge_of(tmp_path, "power") as (bus, pid), _traced(pid, tmp_path / "trace"):
        await bus.commit_together(drafts, expect_last=StreamSeq(1))
    assert _steps((tmp_path / "trace").read_text()) == [*[STORED] * PUBLISHES, SYNCED, ANSWERED]


def test_a_sync_counts_when_it_is_finished() -> None:
    """An answer that begins before the sync has ended is seen as what it would be: too early."""
    answer = r'9 write(7<socket:[1]>, "MSG i 1 27\r\n{\"stream\":\"LOG_0\",\"seq\":2}\r\n", 42'
    early = [
        '8 pwrite64(5</d/LOG_0/msgs/1.blk>, "x", 1, 9) = 1',
        "8 fsync(5</d/LOG_0/msgs/1.blk> <unfinished ...>",
        f"{answer} <unfinished ...>",
        "8 <... fsync resumed>)             = 0",
        "9 <... write resumed>)             = 42",
    ]
    assert _steps("\n".join(early)) == [STORED, ANSWERED, SYNCED]
    failed = ["8 fsync(5</d/LOG_0/msgs/1.blk>) = -1 EIO (Input/output error)", f"{answer}) = 42"]
    assert _steps("\n".join(failed)) == [ANSWERED]


def _steps(trace: str) -> list[str]:
    """What concerns the log, in order: a sync when it ended well, the others when they began."""
    steps: list[str] = []
    syncing: set[str] = set()
    for line in trace.splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        thread, call, rest = found.group("thread", "call", "rest")
        if call in {"fsync", "fdatasync"} and _LOG_FILE.search(rest):
            if "<unfinished" in rest:
                syncing.add(thread)
            elif rest.endswith("= 0"):
                steps.append(SYNCED)
        elif call in {"<... fsync", "<... fdatasync"} and thread in syncing:
            syncing.remove(thread)
            if rest.endswith("= 0"):
                steps.append(SYNCED)
        elif not call.startswith("<") and _LOG_FILE.search(rest):
            steps.append(STORED)
        elif not call.startswith("<") and _ANSWER.search(rest):
            steps.append(ANSWERED)
    return steps


@contextlib.asynccontextmanager
async def _edge_of(directory: Path, durability: Durability) -> AsyncIterator[tuple[Bus, int]]:
    """A bus as an edge has it, and the process id of its server; the log holds one message."""
    with _server(directory, durability) as server:
        async with Bus.connect(_settings(server, SEQUENCER), "test") as owner:
            await ensure_streams(owner, _settings(server, SEQUENCER))
        async with Bus.connect(_settings(server, EDGE), "test") as bus:
            await put(bus, SUBJECT, b"the file of the log is there now")
            yield bus, server.pid


@contextlib.contextmanager
def _server(directory: Path, durability: Durability) -> Iterator[NatsServer]:
    """A server with the configuration that `parley up` writes."""
    port = own_port()
    node = NatsNode("nats-1", port, own_port(), directory / "store")
    config = server_config(
        node, passwords=PASSWORDS, route_password="secret-route", partitions=1, durability=durability
    )
    write_config(directory / "nats.conf", config)
    server = server_for_tests(directory / "nats", config=directory / "nats.conf", port=port)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _settings(server: NatsServer, user: str) -> CommonSettings:
    return CommonSettings(nats_url=server.url, nats_user=user, nats_password=PASSWORDS[user], partitions=1)


@contextlib.asynccontextmanager
async def _traced(pid: int, trace: Path) -> AsyncIterator[None]:
    """Every thread of the process is watched; skips where the kernel does not let us."""
    said = trace.with_suffix(".said")
    process = _strace(pid, trace, said)
    try:
        await eventually(lambda: "attached" in said.read_text() or process.poll() is not None)
        if process.poll() is not None:
            pytest.skip(f"strace may not watch a process here: {said.read_text().strip()}")
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # it lets go of the server and writes what it holds
        process.wait(10)


def _strace(pid: int, trace: Path, said: Path) -> subprocess.Popen[bytes]:
    command = ["strace", "-f", "-y", "-s", "400", "-e", f"trace={CALLS}", "-o", str(trace), "-p", str(pid)]
    with said.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)
