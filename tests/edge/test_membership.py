"""Who is in and who is out: removal on all sessions, and silence about private channels (P21)."""

from __future__ import annotations

import pytest

from tests.support.http import fetch
from tests.support.peer import Frame, Peer, new_id
from tests.support.stack import Stack
from tests.support.waiting import eventually

LIST = "/v1/channels?limit=500"


@pytest.mark.parametrize("how", ["kick", "leave"])
async def test_removal_is_the_last_event_on_every_session(stack: Stack, how: str) -> None:
    """The removed member gets the event that says so and nothing after it, on both edges (AT-62)."""
    channel, bob = f"gone-{how}", f"gone-{how}-bob"
    async with (
        Peer.opened(stack.url, "gone-ann") as ann,
        Peer.opened(stack.url, bob) as here,
        Peer.opened(stack.address(1), bob, batch=True) as there,
    ):
        await ann.do("create_channel", kind="public", name="g", channel=channel)
        await here.do("join", channel=channel)
        for peer in (here, there):
            await peer.take("channel", member=True)
        if how == "kick":
            removal = (await ann.do("kick", channel=channel, user=bob))["seq"]
        else:
            removal = (await there.do("leave", channel=channel))["seq"]
        for peer in (here, there):
            await peer.event(channel, removal)
            assert await peer.take("channel", member=False)
        after = (await ann.do("send", channel=channel, text="between us"))["seq"]
        await ann.event(channel, after)
        for peer in (here, there):
            left = await peer.quiet()
            assert not [frame for frame in left if frame["type"] == "event" and frame["seq"] > removal]
            assert (await peer.ask("send", channel=channel, text="let me in"))["code"] == "forbidden"
        epoch = "any"
        await here.send({"type": "resume", "cursors": {channel: {"epoch": epoch, "seq": 0}}})
        resumed = await here.take("resumed")
        assert (resumed["complete"], resumed["gap"]["reason"]) == (False, "forbidden")


async def test_rejoining_goes_on_from_the_join(stack: Stack) -> None:
    """Who comes back sees what follows the new join, and not what was said in between."""
    async with Peer.opened(stack.url, "back-ann") as ann, Peer.opened(stack.url, "back-bob") as bob:
        await ann.do("create_channel", kind="public", name="b", channel="back")
        await bob.do("join", channel="back")
        await bob.take("channel", member=True)
        await bob.do("leave", channel="back")
        await bob.take("channel", member=False)
        await ann.do("send", channel="back", text="unseen")
        joined = (await bob.do("join", channel="back"))["seq"]
        first = (await ann.do("send", channel="back", text="seen"))["seq"]
        await bob.event("back", first)
        seen = [frame["seq"] for frame in bob.frames if frame["type"] == "event"]
        assert not [seq for seq in seen if 3 < seq < joined]


async def test_join_misses_nothing(stack: Stack) -> None:
    """What is said right behind a join reaches the one who joined, however soon."""
    async with Peer.opened(stack.url, "soon-ann") as ann, Peer.opened(stack.address(1), "soon-bob") as bob:
        await ann.do("create_channel", kind="public", name="s", channel="soon")
        joined = (await bob.do("join", channel="soon"))["seq"]
        last = 0
        for number in range(5):
            last = (await ann.do("send", channel="soon", text=str(number)))["seq"]
        for seq in range(joined + 1, last + 1):
            await bob.event("soon", seq)


async def test_invited_user_is_told_at_once(stack: Stack) -> None:
    """An invitation makes a member; their open sessions get the channel without asking."""
    async with Peer.opened(stack.url, "inv-ann") as ann, Peer.opened(stack.address(1), "inv-bob") as bob:
        secret = (await ann.do("create_channel", kind="private", name="secret"))["channel"]
        await ann.do("invite", channel=secret, user="inv-bob")
        info = (await bob.take("channel", member=True))["channel"]
        assert (info["id"], info["kind"], info["name"]) == (secret, "private", "secret")
        ack = await bob.do("send", channel=secret, text="thanks")
        await ann.event(secret, ack["seq"])


async def test_direct_channel(stack: Stack) -> None:
    """A direct channel is one whoever opens it, and its members are fixed."""
    async with Peer.opened(stack.url, "dir-ann") as ann, Peer.opened(stack.address(1), "dir-bob") as bob:
        mine = await ann.do("create_channel", kind="direct", members=["dir-bob"])
        theirs = await bob.do("create_channel", kind="direct", members=["dir-ann"])
        assert (mine["channel"], theirs["duplicate"]) == (theirs["channel"], True)
        await bob.take("channel", member=True)
        ack = await bob.do("send", channel=mine["channel"], text="hi")
        await ann.event(mine["channel"], ack["seq"])
        refused = await ann.ask("invite", channel=mine["channel"], user="dir-eve")
        assert refused["code"] == "forbidden"


async def test_stranger_learns_nothing_of_a_private_channel(stack: Stack) -> None:
    """Every command and page about a private channel is what it is about no channel at all (AT-46, AT-48)."""
    async with Peer.opened(stack.url, "priv-ann") as ann, Peer.opened(stack.url, "priv-eve") as eve:
        secret = (await ann.do("create_channel", kind="private", name="very secret"))["channel"]
        direct = (await ann.do("create_channel", kind="direct", members=["priv-bob"]))["channel"]
        await ann.do("send", channel=secret, text="hidden words")
        absent = "p_" + "0" * 24
        for channel in (secret, direct):
            for command in _commands():
                real = await _answer(eve, {**command, "channel": channel})
                none = await _answer(eve, {**command, "channel": absent})
                assert _comparable(real) == _comparable(none), command
            for path in ("", "/events", "/events?before=5", "/members"):
                real_page = fetch(stack.url, "priv-eve", f"/v1/channels/{channel}{path}")
                none_page = fetch(stack.url, "priv-eve", f"/v1/channels/{absent}{path}")
                assert (real_page.status, real_page.body) == (404, none_page.body)
        listed = fetch(stack.url, "priv-eve", "/v1/channels?limit=500").body
        assert b"secret" not in listed
        assert secret.encode() not in listed
        assert not [frame for frame in await eve.quiet() if frame["type"] in {"event", "channel"}]


async def test_a_public_channel_is_read_by_all_and_followed_by_members(stack: Stack) -> None:
    """Who has not joined may page through its past, as they may join; the list is silent about it (AT-48).

    Nothing live, no resume, no marker, no typing, and no message of theirs, over WebSocket or HTTP.
    """
    async with Peer.opened(stack.url, "open-ann") as ann, Peer.opened(stack.url, "open-eve") as eve:
        await ann.do("create_channel", kind="public", name="open", channel="open")
        said = (await ann.do("send", channel="open", text="hello all"))["seq"]
        await eventually_listed(stack, "open-eve", "open")
        view = next(it for it in fetch(stack.url, "open-eve", LIST).json["channels"] if it["id"] == "open")
        assert set(view) == {"id", "kind", "name", "topic", "archived", "members", "member"}
        one = fetch(stack.url, "open-eve", "/v1/channels/open").json
        assert (one["member"], one["head"], one.get("unread")) == (False, said, None)
        page = fetch(stack.url, "open-eve", "/v1/channels/open/events").json
        assert [event["seq"] for event in page["events"]] == [1, said]

        await eve.send({"type": "resume", "cursors": {"open": {"epoch": one["epoch"], "seq": 0}}})
        resumed = await eve.take("resumed", channel="open")
        assert (resumed["complete"], resumed["count"], resumed["gap"]["reason"]) == (False, 0, "forbidden")
        for command in ({"type": "send", "text": "t"}, {"type": "read", "seq": 1}, {"type": "typing"}):
            assert (await _answer(eve, {**command, "channel": "open"}))["code"] == "forbidden", command
        path, key = "/v1/channels/open/messages", new_id()
        post = fetch(stack.url, "open-eve", path, body={"text": "t"}, Idempotency_Key=key)
        assert (post.status, post.json["code"]) == (403, "forbidden")
        await ann.do("send", channel="open", text="still among us")
        assert not [frame for frame in await eve.quiet() if frame["type"] == "event"]


async def eventually_listed(stack: Stack, user: str, channel: str) -> None:
    """The directory knows the channel."""

    def is_listed() -> bool:
        return any(view["id"] == channel for view in fetch(stack.url, user, LIST).json["channels"])

    await eventually(is_listed)


async def test_removed_member_cannot_touch_old_messages(stack: Stack) -> None:
    """Who has left can no longer edit or delete what they wrote, over WebSocket or HTTP (AT-39)."""
    async with Peer.opened(stack.url, "old-ann") as ann, Peer.opened(stack.url, "old-bob") as bob:
        await ann.do("create_channel", kind="public", name="o", channel="old")
        await bob.do("join", channel="old")
        message = (await bob.do("send", channel="old", text="mine"))["seq"]
        await ann.do("kick", channel="old", user="old-bob")
        for kind, fields in (("edit", {"text": "x"}), ("delete", {}), ("react", {"emoji": "👍"})):
            refused = await bob.ask(kind, channel="old", ref=message, **fields)
            assert refused["code"] == "forbidden", refused


async def test_retry_of_a_leave_is_the_same_leave(stack: Stack) -> None:
    """A command that could not be given again is answered with its first seq when it is retried (P12)."""
    command = {"type": "leave", "id": new_id(), "channel": "retry"}
    async with Peer.opened(stack.url, "retry-ann") as ann, Peer.opened(stack.url, "retry-bob") as bob:
        await ann.do("create_channel", kind="public", name="r", channel="retry")
        await bob.do("join", channel="retry")
        await bob.send(command)
        first = await bob.answer(str(command["id"]))
        await bob.send(command)
        again = await bob.answer(str(command["id"]))
    assert (first["seq"], again["seq"], again["duplicate"]) == (3, 3, True)


def _commands() -> list[Frame]:
    bodies: list[Frame] = [
        {"type": "send", "text": "t"},
        {"type": "send", "text": "t", "thread": 1},
        {"type": "edit", "ref": 2, "text": "t"},
        {"type": "delete", "ref": 2},
        {"type": "react", "ref": 2, "emoji": "e"},
        {"type": "unreact", "ref": 2, "emoji": "e"},
        {"type": "pin", "ref": 2},
        {"type": "unpin", "ref": 2},
        {"type": "join"},
        {"type": "leave"},
        {"type": "invite", "user": "priv-eve"},
        {"type": "kick", "user": "priv-ann"},
        {"type": "set_role", "user": "priv-ann", "role": "member"},
        {"type": "update_channel", "name": "n"},
        {"type": "read", "seq": 1},
        {"type": "typing"},
    ]
    return [*bodies, {"type": "resume"}]


async def _answer(peer: Peer, frame: Frame) -> Frame:
    if frame["type"] == "resume":
        await peer.send({"type": "resume", "cursors": {frame["channel"]: {"epoch": "e", "seq": 0}}})
        return await peer.take("resumed", channel=frame["channel"])
    identified = {**frame, "id": new_id()}
    await peer.send(identified)
    return await peer.answer(str(identified["id"]))


def _comparable(answer: Frame) -> Frame:
    return {name: value for name, value in answer.items() if name not in {"id", "channel"}}


async def test_who_comes_back_is_served_first_what_they_name(stack: Stack) -> None:
    """A hello with cursors is welcomed to those channels; the others follow, each once (P6, P7)."""
    async with Peer.opened(stack.url, "returner") as peer:
        for channel in ("returned-a", "returned-b"):
            await peer.do("create_channel", kind="public", name=channel, channel=channel)
            entry = await peer.take("channel", member=True)
        epoch = entry["channel"]["epoch"]
        await eventually(lambda: _listed(stack.url, "returner", 2))
    cursors = {"returned-b": {"epoch": epoch, "seq": 1}, "not-mine": {"epoch": epoch, "seq": 1}}
    async with Peer.opened(stack.url, "returner", cursors=cursors) as peer:
        assert ([info["id"] for info in peer.welcome["channels"]], peer.welcome["more"]) == (
            ["returned-b"],
            True,
        )
        assert (await peer.take("resumed", channel="returned-b"))["complete"]
        rest = await peer.take("channels")
        assert ([info["id"] for info in rest["channels"]], rest["more"]) == (["returned-a"], False)
        assert (await peer.take("resumed", channel="not-mine"))["gap"]["reason"] == "forbidden"


async def _listed(url: str, user: str, count: int) -> bool:
    async with Peer.opened(url, user) as peer:
        return len(peer.welcome["channels"]) == count
