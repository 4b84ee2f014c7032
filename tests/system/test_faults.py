"""A replay of real chat lines through real clients goes on to its proven end while processes are killed."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.bus import Bus
from shared.subjects import log_stream
from tests.bench.report import ROOT
from tests.bench.system import System, running
from tests.support.waiting import eventually

LINES = ROOT.parent / "shared" / "data" / "ubuntu-irc.ndjson.gz"
LIMIT = 3_000
SEED = int(os.environ.get("PARLEY_SEED") or random.SystemRandom().randrange(2**32))

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not LINES.exists(), reason=f"needs {LINES.name} in ../shared/data"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system() -> AsyncIterator[System]:
    """Two edges, so that one can be away while the other goes on. Each test has a workspace of its own."""
    async with running(edges=2) as started:
        yield started


async def logged(bus: Bus, partitions: int) -> int:
    """How many events all logs hold."""
    total = 0
    for partition in range(partitions):
        info = await bus.api(f"STREAM.INFO.{log_stream(partition)}", {})
        state = info["state"]
        assert isinstance(state, dict)
        total += state["messages"]
    return total


async def replay(system: System, workspace: str, output: Path) -> asyncio.subprocess.Process:
    """`parley replay`, as a person would start it."""
    command = ["replay", str(LINES), "--data", str(system.directory.path), "--limit", str(LIMIT)]
    command += ["--workspace", workspace]
    command += ["--channels", "60", "--senders", "10", "--receivers", "10", "--wait", "60"]
    with output.open("wb") as said:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from infra.cli import main; main()",
            *command,
            cwd=ROOT,
            stdout=said,
            stderr=said,
        )


def current_pid(system: System, name: str) -> int | None:
    """The process that runs under this name now; None between two of them."""
    return system.directory.run().process(name).pid


def found(pattern: str, text: str) -> int:
    """The number behind a label of the summary."""
    match = re.search(pattern + r"\D*([\d,]+)", text)
    assert match, text
    return int(match[1].replace(",", ""))


@pytest.mark.parametrize("victim", ["edge-1", "sequencer", "archiver", "nats-1"])
async def test_replay_survives_a_killed_process(system: System, victim: str, tmp_path: Path) -> None:
    """kill -9 twice in the middle: the replay ends, nothing is missing or doubled; again adds nothing."""
    rng = random.Random(f"{SEED}/{victim}")
    kills = sorted(rng.sample(range(LIMIT // 10, LIMIT * 8 // 10), 2))
    print(f"PARLEY_SEED={SEED}: {victim} dies when the logs hold {kills} events")
    async with Bus.connect(system.directory.operator_settings(), "test") as bus:
        before = await logged(bus, system.run.partitions)
        first = await replay(system, victim, tmp_path / "first")
        for kill in kills:

            async def reached(upto: int = before + kill) -> bool:
                return await logged(bus, system.run.partitions) >= upto or first.returncode is not None

            await eventually(reached, within_s=90, every_s=0.05)
            killed = current_pid(system, victim)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)

            def replaced(gone: int = killed) -> bool:
                return current_pid(system, victim) not in {None, gone}

            await eventually(replaced)
        assert await first.wait() == 0, (tmp_path / "first").read_text()
        after = await logged(bus, system.run.partitions)
        again = await replay(system, victim, tmp_path / "again")
        assert await again.wait() == 0, (tmp_path / "again").read_text()
        assert await logged(bus, system.run.partitions) == after
    assert found("recorded now", (tmp_path / "again").read_text()) == 0
