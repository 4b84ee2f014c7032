"""The bus against a real server: commits that are durable once, reads that reach what they must."""

from __future__ import annotations

import asyncio
import json

import pytest

from shared.bus import Bus, Message, PubAck
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.ids import StreamSeq
from shared.records import Failure
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

LOG = "LOG_0"


async def test_same_message_id_is_stored_once(log: Bus) -> None:
    """A repeated id is answered with the first position and stores nothing."""
    first = await log.commit("channel.0.w.c", b"a", msg_id="c/1")
    again = await log.commit("channel.0.w.c", b"a", msg_id="c/1")
    assert (again.stream_seq, again.duplicate) == (first.stream_seq, True)
    assert first.duplicate <= first.retried


async def test_expected_last_sequence_guards(log: Bus) -> None:
    """A commit on a condition that no longer holds is refused and leaves no trace."""
    ack = await log.commit("channel.0.w.c", b"a", expect_last=StreamSeq(0))
    with pytest.raises(WrongLastSequence):
        await log.commit("channel.0.w.c", b"b", expect_last=StreamSeq(0))
    newest = await log.last(LOG, "channel.0.w.c")
    assert newest is not None
    assert newest.stream_seq == ack.stream_seq


async def test_condition_is_checked_before_the_message_id(log: Bus) -> None:
    """JetStream answers a conditional repeat with "wrong last sequence": callers must look the id up."""
    await log.commit("channel.0.w.c", b"a", msg_id="c/1", expect_last=StreamSeq(0))
    with pytest.raises(WrongLastSequence):
        await log.commit("channel.0.w.c", b"a", msg_id="c/1", expect_last=StreamSeq(0))


async def test_commit_survives_a_killed_server(log: Bus, fresh_nats_server: NatsServer) -> None:
    """A commit that runs while the server dies and comes back is stored exactly once (AT-70)."""
    fresh_nats_server.kill()
    waiting = asyncio.create_task(log.commit("channel.0.w.c", b"a", msg_id="c/1"))
    fresh_nats_server.start()
    ack = await waiting
    again = await log.commit("channel.0.w.c", b"a", msg_id="c/1")
    assert again.stream_seq == ack.stream_seq == 1


async def test_commit_without_a_server_is_refused(log: Bus, fresh_nats_server: NatsServer) -> None:
    """While nobody can be reached a commit fails as not recorded, and is not sent later."""
    fresh_nats_server.kill()
    await eventually(lambda: not log.connected)
    with pytest.raises(Unavailable):
        await log.commit("channel.0.w.c", b"a", msg_id="c/1")
    fresh_nats_server.start()
    await eventually(lambda: log.connected)
    assert await log.last(LOG, "channel.0.w.c") is None


async def test_paused_server_leaves_the_outcome_unknown(log: Bus, fresh_nats_server: NatsServer) -> None:
    """No answer within the deadline is never called a failure: it may be stored."""
    fresh_nats_server.pause()
    try:
        with pytest.raises(OutcomeUnknown):
            await log.commit("channel.0.w.c", b"a", msg_id="c/1", deadline_s=0.8)
    finally:
        fresh_nats_server.unpause()
    ack = await log.commit("channel.0.w.c", b"a", msg_id="c/1")
    assert ack.stream_seq == 1


async def test_first_try_without_a_task(log: Bus) -> None:
    """It hears what `commit` would return or raise, where the answer is read."""
    heard: list[PubAck | ParleyError | None] = []

    def start(body: bytes, msg_id: str) -> bool:
        return log.commit_soon("channel.0.w.c", body, msg_id=msg_id, headers={}, then=heard.append)

    assert start(b"a", "c/1")
    assert start(b"a", "c/1")
    await eventually(lambda: len(heard) == 2)
    first, again = heard
    assert isinstance(first, PubAck)
    assert (first.stream_seq, first.duplicate) == (1, False)
    assert again == first._replace(duplicate=True)
    assert log.commit_soon("nobody.listens", b"a", msg_id="x", headers={}, then=heard.append)
    await eventually(lambda: len(heard) == 3)
    assert heard[-1] is None


async def test_first_try_without_an_answer(log: Bus, fresh_nats_server: NatsServer) -> None:
    """Nothing is known after the try; `commit` goes on under the same id, and knows that it is a retry."""
    heard: list[PubAck | ParleyError | None] = []
    fresh_nats_server.pause()
    assert log.commit_soon("channel.0.w.c", b"a", msg_id="c/1", headers={}, then=heard.append)
    await eventually(lambda: heard == [None])
    fresh_nats_server.unpause()
    ack = await log.commit("channel.0.w.c", b"a", msg_id="c/1", tries=1)
    assert (ack.stream_seq, ack.retried) == (1, True)
    fresh_nats_server.kill()
    await eventually(lambda: not log.connected)
    assert not log.commit_soon("channel.0.w.c", b"b", msg_id="c/2", headers={}, then=heard.append)


async def test_request_to_nobody_is_unavailable(log: Bus) -> None:
    """A request without a server of it fails at once, not after its time-out."""
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await log.request("archive.0.history", b"{}", timeout_s=600)


async def test_serve_answers_errors_and_refuses_the_excess(log: Bus) -> None:
    """A handler's error becomes a `Failure`; more requests at once than allowed are refused, not queued."""
    release = asyncio.Event()

    async def handler(body: bytes) -> bytes:
        if body == b"bad":
            raise Unavailable("away", retry_after_ms=7)
        await release.wait()
        return b"done"

    await log.serve("archive.0.test", handler, concurrency_max=2)
    bad = Failure.model_validate_json(await log.request("archive.0.test", b"bad", timeout_s=30))
    assert (bad.error, bad.retry_after_ms) == ("unavailable", 7)
    slow = [asyncio.create_task(log.request("archive.0.test", b"", timeout_s=30)) for _ in range(2)]
    await eventually(lambda: len(log._serving) == 2)
    excess = json.loads(await log.request("archive.0.test", b"", timeout_s=30))
    assert excess["error"] == "unavailable"
    release.set()
    assert [await task for task in slow] == [b"done", b"done"]


async def test_nothing_is_sent_behind_the_deadline(log: Bus) -> None:
    """Its process may have been stopped: JetStream may have forgotten the id meanwhile."""
    for tries in (0, 1):
        with pytest.raises(OutcomeUnknown):
            await log.commit("channel.0.w.c", b"a", msg_id="c/1", tries=tries, deadline_s=0.0)
    assert await log.last(LOG, "channel.0.w.c") is None


async def test_duplicate_in_process_is_tried_again(bus: Bus) -> None:
    """Error 10158 means that nothing is known: the same id is tried until the log answers, never another."""
    tried: list[str] = []

    def answer(message: Message) -> None:
        tried.append(message.headers["Nats-Msg-Id"])
        refusal = {"code": 409, "err_code": 10158, "description": "duplicate message id is in process"}
        said = {"error": refusal} if len(tried) < 4 else {"stream": "X", "seq": 7, "duplicate": True}
        replies.append(asyncio.ensure_future(bus.publish(message.reply, json.dumps(said).encode())))

    replies: list[asyncio.Future[None]] = []
    answering = await bus.subscribe("in.process", answer)
    ack = await bus.commit("in.process", b"a", msg_id="c/1")
    assert (ack.stream_seq, ack.duplicate, ack.retried) == (7, True, True)
    assert tried == ["c/1"] * 4
    tried.clear()
    with pytest.raises(OutcomeUnknown):
        await bus.commit("in.process", b"a", msg_id="c/1", deadline_s=0.05)
    await answering.unsubscribe()
