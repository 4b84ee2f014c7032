"""Commits of many clients in shared batches: each is stored once, and hears its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

import pytest
from prometheus_client import REGISTRY

from edge.group_commit import GROUP_MIN, GroupCommits
from shared.bus import Bus, BusError, PubAck
from shared.errors import OutcomeUnknown, ParleyError
from shared.ids import StreamSeq
from shared.retry import Deadline
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

LOG = "LOG_0"
MANY = 300


class Senders:
    """Clients of one edge: each commits once, and tries on under its id until it knows."""

    def __init__(self, bus: Bus, *, grouping: bool = True) -> None:
        self.bus = bus
        self.acks: dict[str, PubAck] = {}
        self.errors: dict[str, ParleyError] = {}
        self.deadline_s = 60.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.groups = GroupCommits(bus, grouping=grouping, waiting_max=2_000, spawn=self._spawn)

    def send(self, msg_id: str, body: bytes = b"{}") -> None:
        """One client's commit, in a channel of its own."""
        subject = f"channel.0.w.c{msg_id}"

        def answered(outcome: PubAck | ParleyError | None) -> None:
            if outcome is None and self.deadline_s == 0.0:
                self.errors[msg_id] = OutcomeUnknown("too late")
            elif outcome is None:
                self._spawn(self._again(subject, msg_id, body, tries=1))
            elif isinstance(outcome, ParleyError):
                self.errors[msg_id] = outcome
            else:
                self.acks[msg_id] = outcome

        def unsent() -> None:
            self._spawn(self._again(subject, msg_id, body, tries=0))

        self.groups.commit_soon(
            LOG,
            subject,
            body,
            msg_id=msg_id,
            headers={},
            deadline=Deadline.after(self.deadline_s),
            then=answered,
            unsent=unsent,
        )

    def send_all(self, ids: Sequence[str]) -> None:
        """All at once."""
        for msg_id in ids:
            self.send(msg_id)

    async def answers(self, count: int) -> None:
        """So many have an answer."""
        await eventually(lambda: len(self.acks) + len(self.errors) == count, within_s=60)

    async def _again(self, subject: str, msg_id: str, body: bytes, tries: int) -> None:
        try:
            self.acks[msg_id] = await self.bus.commit(subject, body, msg_id=msg_id, tries=tries)
        except ParleyError as error:
            self.errors[msg_id] = error

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@pytest.fixture
async def senders(fresh_bus: Bus, fresh_settings: CommonSettings) -> Senders:
    """Clients of an edge whose logs are empty."""
    await ensure_streams(fresh_bus, fresh_settings)
    return Senders(fresh_bus)


def groups(outcome: str) -> float:
    """How many batches had this outcome."""
    return REGISTRY.get_sample_value("parley_edge_groups_total", {"outcome": outcome}) or 0.0


async def stored_ids(bus: Bus) -> dict[str, StreamSeq]:
    """The log's ids and their positions; none may be there twice."""
    found = await bus.direct_batch(LOG, "channel.0.>", start=StreamSeq(1), batch=1000)
    ids = {message.headers["Nats-Msg-Id"]: message.stream_seq for message in found}
    assert len(ids) == len(found), "an id is stored twice"
    return ids


async def all_true(senders: Senders, ids: Sequence[str]) -> None:
    """Every id is stored once, and its sender was told its own position."""
    assert not senders.errors
    stored = await stored_ids(senders.bus)
    assert set(stored) == set(ids)
    assert {msg_id: ack.stream_seq for msg_id, ack in senders.acks.items()} == stored


def told_as_duplicates(senders: Senders) -> set[str]:
    """Who was told so at the first try: a second one may find what the first has stored."""
    return {msg_id for msg_id, ack in senders.acks.items() if ack.duplicate and not ack.retried}


async def test_many_share_batches(senders: Senders) -> None:
    """Each hears its own position, with few batches for many commits."""
    before, ids = groups("recorded"), [str(n) for n in range(MANY)]
    senders.send_all(ids)
    await senders.answers(MANY)
    await all_true(senders, ids)
    assert not told_as_duplicates(senders)
    assert 1 <= groups("recorded") - before <= MANY / GROUP_MIN


async def test_what_waited_too_long_is_not_sent(senders: Senders) -> None:
    """An edge that was stopped for minutes sends nothing that it held: ids may be stored and forgotten."""
    ids = [str(n) for n in range(GROUP_MIN)]
    senders.send_all(ids)
    senders.deadline_s = 0.0
    senders.send_all([f"held-{n}" for n in range(GROUP_MIN * 2)])
    await senders.answers(GROUP_MIN * 3)
    assert set(await stored_ids(senders.bus)) == set(ids)
    assert len(senders.errors) == GROUP_MIN * 2


async def test_few_never_see_a_batch(senders: Senders) -> None:
    """What is no more than a batch must hold at least goes one by one, and so does all without grouping."""
    before = groups("recorded")
    for part in range(4):
        senders.send_all([f"{part}-{n}" for n in range(GROUP_MIN)])
        await senders.answers((part + 1) * GROUP_MIN)
    alone = Senders(senders.bus, grouping=False)
    alone.send_all([f"alone-{n}" for n in range(MANY)])
    await alone.answers(MANY)
    assert groups("recorded") == before


async def test_a_duplicate_harms_nobody(senders: Senders) -> None:
    """JetStream refuses the batch; the others are stored by themselves, the known one is a duplicate."""
    known = await senders.bus.commit("channel.0.w.cknown", b"{}", msg_id="known")
    before, ids = groups("refused"), [str(n) for n in range(MANY)]
    senders.send_all([*ids[:100], "known", *ids[100:]])
    await senders.answers(MANY + 1)
    await all_true(senders, [*ids, "known"])
    assert (senders.acks["known"].stream_seq, senders.acks["known"].duplicate) == (known.stream_seq, True)
    assert told_as_duplicates(senders) <= {"known"}
    assert groups("refused") > before


async def test_the_same_id_twice_in_a_batch(senders: Senders) -> None:
    """Two edges' worth of impatience: one is stored, the other is its duplicate."""
    ids = [str(n) for n in range(MANY)]
    doubles = Senders(senders.bus)
    doubles.groups = senders.groups
    senders.send_all(ids)
    doubles.send_all(ids)
    await senders.answers(MANY)
    await doubles.answers(MANY)
    await all_true(senders, ids)
    assert {one: ack.stream_seq for one, ack in doubles.acks.items()} == await stored_ids(senders.bus)


async def test_one_that_is_too_large_harms_nobody(senders: Senders) -> None:
    """It alone is refused, with JetStream's reason."""
    ids = [str(n) for n in range(MANY)]
    senders.send_all(ids[:100])
    senders.send("large", b"x" * 1_000_000)
    senders.send_all(ids[100:])
    await senders.answers(MANY + 1)
    assert isinstance(senders.errors.pop("large"), BusError)
    await all_true(senders, ids)


async def test_silence_under_a_batch(senders: Senders, fresh_nats_server: NatsServer) -> None:
    """No answer is no refusal: each tries on under its id, and is stored once when the server is back."""
    before, ids = groups("unknown"), [str(n) for n in range(MANY)]
    fresh_nats_server.pause()
    try:
        senders.send_all(ids)
        await eventually(lambda: groups("unknown") > before)
    finally:
        fresh_nats_server.unpause()
    await senders.answers(MANY)
    await all_true(senders, ids)


async def test_server_killed_amid_batches(senders: Senders, fresh_nats_server: NatsServer) -> None:
    """Killed while batches come and go: each commit is stored once, and acked at its own position."""
    ids = [str(n) for n in range(3 * MANY)]
    for part in range(3):
        senders.send_all(ids[part * MANY : (part + 1) * MANY])
        await eventually(lambda part=part: len(senders.acks) > part * MANY, every_s=0)
        if part < 2:
            fresh_nats_server.restart()
    await senders.answers(len(ids))
    await all_true(senders, ids)


async def test_a_bug_under_a_batch_leaves_nobody_waiting(senders: Senders) -> None:
    """What cannot even be written ends its batch; the others try on, and the log's next ones go as ever."""
    good = [f"good{number}" for number in range(MANY)]
    senders.send_all(good[:50])
    senders.send("\ud800")
    senders.send_all(good[50:])
    await senders.answers(MANY)
    senders.send_all(["later"])
    await senders.answers(MANY + 1)
    assert set(senders.acks) == {*good, "later"}


async def test_without_a_connection_nothing_is_sent(senders: Senders, fresh_nats_server: NatsServer) -> None:
    """What was never sent is refused as not recorded, and does not appear later."""
    fresh_nats_server.kill()
    await eventually(lambda: not senders.bus.connected)
    senders.send_all([str(n) for n in range(MANY)])
    await senders.answers(MANY)
    assert {error.code for error in senders.errors.values()} == {"unavailable"}
    fresh_nats_server.start()
    await eventually(lambda: senders.bus.connected)
    assert await stored_ids(senders.bus) == {}
