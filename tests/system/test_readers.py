"""Readers in a running system: edges get their answers from whoever lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import fetch
from tests.support.local_system import LocalSystem
from tests.support.peer import Peer
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.faults]

SAID = 12
USER = "ann"


async def got(stack: Stack, path: str, body: dict[str, object] | None = None) -> Any:
    """What an edge answers, once it does."""
    found: list[Any] = []

    async def is_answered() -> bool:
        reply = await asyncio.to_thread(fetch, stack.url, USER, path, body=body)
        if reply.status == 200:
            found.append([json.loads(line) for line in reply.body.splitlines()])
        else:
            assert reply.status == 503, reply
        return bool(found)

    await eventually(is_answered, within_s=120)
    return found[0]


async def everything(stack: Stack, said: int) -> None:
    """Pages, messages, search and SQL of the channel hold what was said there."""
    (events,) = await got(stack, "/v1/channels/tea/events?after=0&limit=200")
    assert [event["seq"] for event in events["events"]] == list(range(1, said + 2))
    (page,) = await got(stack, "/v1/channels/tea/messages?limit=100")
    assert [message["text"] for message in page["messages"]] == [f"word {n}" for n in range(said)]
    (found,) = await got(stack, "/v1/search?q=word&limit=50")
    assert len(found["hits"]) == said


async def in_parquet(stack: Stack, said: int) -> None:
    """SQL reads what is committed: wait until that is all."""

    async def is_there() -> bool:
        rows = await got(stack, "/v1/sql", {"query": "SELECT count(*) AS n FROM messages"})
        return bool(rows[0]["n"] == said)

    await eventually(is_there, within_s=120)


async def test_edges_are_answered_by_readers_alone(stack: Stack) -> None:
    """The writer is dead, then one of the readers too, which comes back with what it had; then the writer."""
    one = await stack.add_reader(PARLEY_READER_POLL_S="0.2")
    two = await stack.add_reader(PARLEY_READER_POLL_S="0.2")
    async with Peer.opened(stack.url, USER) as peer:
        await peer.do("create_channel", channel="tea", kind="public", name="tea")
        for number in range(SAID):
            await peer.do("send", channel="tea", text=f"word {number}")
        await in_parquet(stack, SAID)
        stack.archiver.kill()
        await everything(stack, SAID)
        await in_parquet(stack, SAID)
        for number in range(SAID, 2 * SAID):
            await peer.do("send", channel="tea", text=f"word {number}")
        await everything(stack, 2 * SAID)
        one.kill()
        await everything(stack, 2 * SAID)
        await one.start()
        two.kill()
        await everything(stack, 2 * SAID)
        await stack.archiver.start()
        await in_parquet(stack, 2 * SAID)
        await everything(stack, 2 * SAID)


async def test_a_cache_that_is_taken(stack: Stack) -> None:
    """A second reader in a directory is told so, and ends."""
    taken = str(stack.folder / "taken")
    await stack.add_reader(PARLEY_ARCHIVE_CACHE=taken)
    with pytest.raises(AssertionError, match="needs one of its own"):
        await stack.add_reader(PARLEY_ARCHIVE_CACHE=taken)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LocalSystem]:
    """One archiver, more readers than that, and one edge."""
    started = LocalSystem(
        tmp_path,
        *("--partitions", "2", "--readers", "2", "--durability", "process"),
        *("--env.PARLEY_FLUSH_INTERVAL_S", "0.5", "--env.PARLEY_ERASED_GRACE_S", "0"),
    )
    started.start()
    yield started
    started.stop()


def test_a_local_system_with_readers(system: LocalSystem) -> None:
    """They are shown, restarted like the rest, and part of the proof that nothing is left of a text."""
    said = json.loads(system.parley("status", "--json").stdout)
    shown = {one["name"]: (one["kind"], one["ready"]) for one in said["processes"]}
    assert shown["reader-1"] == shown["reader-2"] == ("reader", True)
    system.parley("send", "tea", "Xsecret of mine", "--create")
    assert "reader-1: " in system.parley("restart", "reader").stdout
    system.parley("erase", "--message", "tea/2")
    words = ("verify", "--erased", "Xsecret of mine", "--wait", "120")
    left = [line for line in system.parley(*words, check=False).stdout.splitlines() if "holds" in line]
    assert left
    assert all("LOG_" in line or "/jetstream/" in line for line in left), left
    assert "✓ nothing differs" in system.parley("verify").stdout
