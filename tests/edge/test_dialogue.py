"""Commands through the front door: order, idempotence, bad input, limits (P11 to P14, P18)."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from shared.ids import new_command_id
from tests.support.http import fetch
from tests.support.peer import Peer, all_replayed, new_id, token
from tests.support.stack import Stack

BAD_FRAMES = {
    "not JSON": ("{oops", "bad_frame"),
    "an array": ("[1, 2]", "bad_frame"),
    "a number": ("7", "bad_frame"),
    "nested too deep": ('{"type":' + "[" * 5000 + "]" * 5000 + "}", "bad_frame"),
    "no type": ({"id": "x"}, "bad_request"),
    "unknown type": ({"type": "sing", "id": "x"}, "unknown_type"),
    "wrong type of a field": ({"type": "send", "id": new_id(), "channel": "bad", "text": 7}, "bad_request"),
    "a missing field": ({"type": "send", "id": new_id(), "channel": "bad"}, "bad_request"),
    "an id that is no UUIDv7": ({"type": "send", "id": "1", "channel": "bad", "text": "t"}, "invalid_id"),
    "a channel with a star": ({"type": "send", "id": new_id(), "channel": "a*", "text": "t"}, "invalid_id"),
    "a channel with a dot": ({"type": "join", "id": new_id(), "channel": "a.b"}, "invalid_id"),
    "a channel too long": ({"type": "join", "id": new_id(), "channel": "a" * 65}, "invalid_id"),
    "a NUL": ({"type": "send", "id": new_id(), "channel": "bad", "text": "a\x00b"}, "invalid_text"),
    "a lone surrogate": (
        f'{{"type":"send","id":"{new_id()}","channel":"bad","text":"a\\ud800b"}}',
        "invalid_text",
    ),
    "a large number": ({"type": "read", "channel": "bad", "seq": 2**60}, "bad_request"),
    "a second hello": ({"type": "hello", "token": "x"}, "bad_request"),
}


@pytest.mark.parametrize("what", BAD_FRAMES)
async def test_bad_frame_is_an_error_and_nothing_else(stack: Stack, what: str) -> None:
    """Each bad frame gets its documented error; the session goes on, others notice nothing (P1, AT-80)."""
    frame, code = BAD_FRAMES[what]
    async with Peer.opened(stack.url, "bad-ann") as ann, Peer.opened(stack.address(1), "bad-bob") as bob:
        await ann.ask("create_channel", kind="public", name="b", channel="bad")
        await bob.ask("join", channel="bad")
        await ann.quiet()
        await bob.quiet()
        bob.frames.clear()
        await ann.send(frame)
        error = await ann.take("error")
        assert error["code"] == code, error
        ack = await ann.do("send", channel="bad", text="still here")
        await bob.event("bad", ack["seq"])
        assert not [found for found in await bob.quiet() if found["type"] in {"event", "error", "bye"}]


async def test_lone_surrogate_and_nul_are_named_with_position(stack: Stack) -> None:
    """The refusal of a text says where the fault is, and repeats the command's id (AT-80)."""
    async with Peer.opened(stack.url, "pos") as peer:
        answer = await peer.ask("send", channel="x", text="ab\x00")
    assert answer["code"] == "invalid_text"
    assert "position 2" in answer["message"]


async def test_oversized_frame_closes_with_1009(stack: Stack) -> None:
    """A frame of 1 MiB ends its own session with 1009 and nobody else's (P3)."""
    async with Peer.opened(stack.url, "large") as large, Peer.opened(stack.url, "small") as small:
        await large.send("x" * 2**20)
        assert (await large.take("bye"))["code"] == 1009
        assert await large.closed() == 1009
        await small.quiet()


async def test_text_that_is_no_utf8_closes_with_1007(stack: Stack) -> None:
    """A text frame that is not UTF-8 ends the session with 1007 (RFC 6455)."""
    async with Peer.opened(stack.url, "utf8") as peer:
        await peer._socket.send(b"\xff\xfe", text=True)
        assert await peer.closed() == 1007


async def test_too_long_text(quick: str) -> None:
    """A text above the announced limit is `too_large` and leaves no trace (P3)."""
    async with Peer.opened(quick, "long") as peer:
        peer.answers_pings = True
        await peer.do("create_channel", kind="public", name="l", channel="long")
        refused = await peer.ask("send", channel="long", text="é" * 501)
        assert (refused["code"], refused["limit"]) == ("too_large", "text_bytes")
        assert (await peer.do("send", channel="long", text="é" * 500))["seq"] == 2


async def test_future_id_is_refused(stack: Stack) -> None:
    """An id from the future is `clock_skew`; nothing is stored."""
    async with Peer.opened(stack.url, "skew") as peer:
        await peer.do("create_channel", kind="public", name="s", channel="skew")
        future = new_command_id(time.time_ns() // 1_000_000 + 120_000)
        await peer.send({"type": "send", "id": future, "channel": "skew", "text": "t"})
        assert (await peer.answer(future))["code"] == "clock_skew"
        assert (await peer.do("send", channel="skew", text="now"))["seq"] == 2


async def test_same_id_is_the_same_message_on_any_edge(stack: Stack) -> None:
    """A retry on another edge returns the original seq; another body is a conflict (P12, AT-18)."""
    command = {"type": "send", "id": new_id(), "channel": "same", "text": "once"}
    async with Peer.opened(stack.url, "same") as one, Peer.opened(stack.address(1), "same") as other:
        await one.do("create_channel", kind="public", name="s", channel="same")
        await one.send(command)
        first = await one.answer(str(command["id"]))
        await other.send(command)
        again = await other.answer(str(command["id"]))
        assert (first["seq"], first["duplicate"]) == (2, False)
        assert (again["seq"], again["ts"], again["duplicate"]) == (2, first["ts"], True)
        await other.send({**command, "text": "twice"})
        refused = await other.answer(str(command["id"]))
        assert (refused["code"], refused["seq"]) == ("conflict", 2)


async def test_frames_behind_the_hello_are_answered_in_order(stack: Stack) -> None:
    """A client need not wait for its welcome: all that it says behind the hello is done, in order (P13)."""
    async with Peer.opened(stack.url, "hasty") as peer:
        await peer.do("create_channel", kind="public", name="h", channel="hasty")
    ids = [new_id() for _ in range(200)]
    async with Peer.connect(stack.url) as peer:
        await peer.send({"type": "hello", "token": token("hasty")})
        for command in ids:
            await peer.send({"type": "send", "id": command, "channel": "hasty", "text": command})
        acks = [await peer.answer(command) for command in ids]
    refused = {(ack["code"], ack.get("limit")) for ack in acks if ack["type"] == "error"}
    assert refused <= {("rate_limited", "connection"), ("rate_limited", "user"), ("unavailable", "order")}
    seqs = [ack["seq"] for ack in acks if ack["type"] == "ack"]
    assert len(seqs) >= 10
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_pipelined_sends_keep_their_order(stack: Stack) -> None:
    """Sends of one session to one channel are in the log in the order of their sending (P13, AT-16)."""
    async with Peer.opened(stack.url, "order") as peer:
        await peer.do("create_channel", kind="public", name="o", channel="order")
        commands = [{"type": "send", "id": new_id(), "channel": "order", "text": str(n)} for n in range(100)]
        for command in commands:
            await peer.send(command)
        seqs = [(await peer.answer(str(command["id"])))["seq"] for command in commands]
    assert seqs == list(range(2, 102))


async def test_edit_delete_react_pin(stack: Stack) -> None:
    """Changes of messages are events with a `ref`; only those who may can make them (P14)."""
    async with Peer.opened(stack.url, "edit-ann") as ann, Peer.opened(stack.url, "edit-bob") as bob:
        await ann.do("create_channel", kind="public", name="e", channel="edit")
        await bob.do("join", channel="edit")
        message = (await bob.do("send", channel="edit", text="tpyo"))["seq"]
        edited = await bob.do("edit", channel="edit", ref=message, text="typo")
        event = await ann.event("edit", edited["seq"])
        assert (event["kind"], event["ref"], event["text"]) == ("message.edited", message, "typo")
        assert "ref_author" not in event
        assert (await ann.ask("edit", channel="edit", ref=message, text="no"))["code"] == "forbidden"
        assert (await ann.ask("edit", channel="edit", ref=1, text="no"))["code"] == "not_found"
        assert (await ann.ask("react", channel="edit", ref=999, emoji="👍"))["code"] == "not_found"
        await ann.do("react", channel="edit", ref=message, emoji="👍")
        await ann.do("unreact", channel="edit", ref=message, emoji="👍")
        await ann.do("pin", channel="edit", ref=message)
        await ann.do("unpin", channel="edit", ref=message)
        await ann.do("delete", channel="edit", ref=message)
        await bob.do("send", channel="edit", text="in a thread", thread=message)


async def test_channel_changes(stack: Stack) -> None:
    """Names, topics and archiving are events; an archived channel takes no message until it is reopened."""
    async with Peer.opened(stack.url, "chan") as ann, Peer.opened(stack.url, "chan-b") as bob:
        await ann.do("create_channel", kind="public", name="c", channel="chan")
        await bob.do("join", channel="chan")
        assert (await ann.do("update_channel", channel="chan", name="d"))["seq"] == 3
        await ann.do("update_channel", channel="chan", topic="about")
        assert (await ann.ask("update_channel", channel="chan", topic="a", name="b"))["code"] == "bad_request"
        assert (await bob.ask("update_channel", channel="chan", archived=True))["code"] == "forbidden"
        await ann.do("update_channel", channel="chan", archived=True)
        assert (await bob.ask("send", channel="chan", text="t"))["code"] == "forbidden"
        await ann.do("update_channel", channel="chan", archived=False)
        await bob.do("send", channel="chan", text="t")
        await ann.do("set_role", channel="chan", user="chan-b", role="admin")
        await bob.do("update_channel", channel="chan", archived=True)


async def test_creating_a_taken_channel_is_a_conflict(stack: Stack) -> None:
    """A public id belongs to its first creation; ids of private channels cannot be chosen."""
    async with Peer.opened(stack.url, "taken") as peer:
        await peer.do("create_channel", kind="public", name="t", channel="taken")
        again = await peer.ask("create_channel", kind="public", name="t", channel="taken")
        assert again["code"] == "conflict"
        for name in ("p_mine", "d_mine"):
            refused = await peer.ask("create_channel", kind="public", name="t", channel=name)
            assert refused["code"] in {"invalid_id", "bad_request"}


async def test_rate_limit_names_the_bucket(quick: str) -> None:
    """Too many commands are refused with the bucket and the time to come back, without a trace (P18)."""
    async with Peer.opened(quick, "fast") as peer:
        peer.answers_pings = True
        await peer.do("create_channel", kind="public", name="f", channel="fast")
        commands = [{"type": "send", "id": new_id(), "channel": "fast", "text": str(n)} for n in range(60)]
        for command in commands:
            await peer.send(command)
        answers = [await peer.answer(str(command["id"])) for command in commands]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert refused
        assert refused[0]["limit"] == "user"
        assert refused[0]["retry_after_ms"] > 0
        acked = [answer["seq"] for answer in answers if answer["type"] == "ack"]
        assert acked == list(range(2, len(acked) + 2))


async def test_order_survives_a_refusal(quick: str) -> None:
    """What was sent behind a postponed command is postponed too, so that nothing overtakes it (P13)."""
    async with Peer.opened(quick, "held") as peer:
        peer.answers_pings = True
        await peer.do("create_channel", kind="public", name="h", channel="held")
        waiting = [{"type": "send", "id": new_id(), "channel": "held", "text": str(n)} for n in range(40)]
        order: list[str] = []
        while waiting:
            for command in waiting:
                await peer.send(command)
            answers = [await peer.answer(str(command["id"])) for command in waiting]
            recorded = [n for n, answer in enumerate(answers) if answer["type"] == "ack"]
            assert recorded == list(range(len(recorded))), (
                "a later command was recorded before an earlier one"
            )
            order += [waiting[n]["text"] for n in recorded]
            waiting = waiting[len(recorded) :]
            if waiting:
                await asyncio.sleep(answers[len(recorded)]["retry_after_ms"] / 1000)  # as it was told
    assert order == [str(n) for n in range(40)]


async def test_imported_needs_the_scope(stack: Stack) -> None:
    """Other authors and times can be set with the import scope only; the order stays the log's."""
    imported = {"at": "2004-11-15T12:18:00Z", "author": "old-timer"}
    async with (
        Peer.opened(stack.url, "imp") as plain,
        Peer.opened(stack.url, "imp", scope="import") as scoped,
    ):
        await plain.do("create_channel", kind="public", name="i", channel="imp")
        refused = await plain.ask("send", channel="imp", text="t", imported=imported)
        assert refused["code"] == "forbidden"
        ack = await scoped.do("send", channel="imp", text="t", imported=imported)
        event = await plain.event("imp", ack["seq"])
    assert (event["author"], event["imported"]["by"]) == ("old-timer", "imp")
    assert event["imported"]["at"].startswith("2004-11-15T12:18:00")
    assert event["ts"] > "2026"
    assert json.dumps(event)


async def test_erasing(stack: Stack) -> None:
    """It needs the scope and no membership; what it names has no text any more, live, replayed or paged."""
    async with (
        Peer.opened(stack.url, "ers-ann") as ann,
        Peer.opened(stack.address(1), "ers-op", scope="erase") as operator,
        Peer.opened(stack.address(1), "ers-eve") as eve,
    ):
        channel = (await ann.do("create_channel", kind="private", name="e"))["channel"]
        one, two = [(await ann.do("send", channel=channel, text=f"Xsecret {n}"))["seq"] for n in range(2)]
        await ann.do("edit", channel=channel, ref=one, text="Xsecret edited")
        assert (await ann.ask("erase", channel=channel, ref=one))["code"] == "forbidden"
        hidden = await eve.ask("erase", channel=channel, ref=one)
        absent = await eve.ask("erase", channel="p_nowhere", ref=one)
        assert hidden | {"id": 0} == absent | {"id": 0}
        for fields in ({}, {"ref": 1, "user": "ers-ann"}):
            assert (await operator.ask("erase", channel=channel, **fields))["code"] == "bad_request"
        for ref in (1, 99):
            assert (await operator.ask("erase", channel=channel, ref=ref))["code"] == "not_found"
        await ann.do("update_channel", channel=channel, archived=True)
        command = {"type": "erase", "id": new_id(), "channel": channel, "ref": one}
        await operator.send(command)
        seq = (await operator.answer(str(command["id"])))["seq"]
        assert (await ann.event(channel, seq))["kind"] == "message.erased"
        await operator.send(command)
        again = await operator.answer(str(command["id"]))
        assert (again["seq"], again["duplicate"]) == (seq, True)
        await ann.do("update_channel", channel=channel, archived=False)
        assert (await ann.ask("edit", channel=channel, ref=one, text="back"))["code"] == "conflict"
        await ann.do("edit", channel=channel, ref=two, text="kept")
        await ann.do("react", channel=channel, ref=one, emoji="👍")
        last = (await operator.do("erase", channel=channel, user="ers-ann"))["seq"]
        await ann.event(channel, last)
        assert (await ann.ask("edit", channel=channel, ref=two, text="back"))["code"] == "conflict"
        last = (await ann.do("delete", channel=channel, ref=one))["seq"]
    for index in range(2):
        path = f"/v1/channels/{channel}/events"
        page = (await asyncio.to_thread(fetch, stack.address(index), "ers-ann", path)).json
        replayed = await all_replayed(stack.address(index), "ers-ann", channel, page["epoch"])
        for told in (page["events"], replayed):
            assert [one["seq"] for one in told] == list(range(1, last + 1))
            assert "Xsecret" not in json.dumps(told)
            assert [one["erased"] for one in told if one.get("text") == ""] == [True] * 4
