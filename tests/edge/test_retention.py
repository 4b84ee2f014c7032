"""Retention through the front door: who sets it, who sees it, and what expires on its way to clients."""

from __future__ import annotations

import asyncio
import json

from shared.bus import Bus
from shared.events import MessagesExpired, encode
from shared.ids import ChannelKey, Seq, UserId, channel_id, workspace_id
from shared.settings import CommonSettings
from shared.subjects import channel_subject, partition_of
from tests.support.http import fetch
from tests.support.peer import WORKSPACE, Peer, all_replayed, new_id
from tests.support.stack import PARTITIONS, Stack
from tests.support.waiting import eventually

OLDER = "2026-01-01T00:00:00.000Z"


async def channel_of(stack: Stack, user: str, channel: str) -> dict[str, object]:
    """What HTTP says of a channel, on the other edge."""
    reply = await asyncio.to_thread(fetch, stack.address(1), user, f"/v1/channels/{channel}")
    return dict(reply.json)


async def test_an_admin_sets_it_and_members_see_it(stack: Stack) -> None:
    """Over both transports; without one, messages are kept for ever and nothing is said of it."""
    async with Peer.opened(stack.url, "ret-ann") as ann, Peer.opened(stack.address(1), "ret-bob") as bob:
        channel = (await ann.do("create_channel", kind="public", name="r", channel="ret"))["channel"]
        await bob.do("join", channel=channel)
        refused = await bob.ask("update_channel", channel=channel, retention_days=30)
        assert refused["code"] == "forbidden"
        for days in (0, 36_501, "30", 1.5):
            refused = await ann.ask("update_channel", channel=channel, retention_days=days)
            assert (refused["code"], "retention_days" in refused["message"]) == ("bad_request", True), days
        seq = (await ann.do("update_channel", channel=channel, retention_days=30))["seq"]
        event = await bob.event(channel, seq)
        assert (event["kind"], event["days"], event["author"]) == ("channel.retention_set", 30, "ret-ann")
        assert (await channel_of(stack, "ret-bob", channel))["retention_days"] == 30

        async def is_listed() -> bool:
            async with Peer.opened(stack.url, "ret-bob") as again:
                return [one.get("retention_days") for one in again.welcome["channels"]] == [30]

        await eventually(is_listed, within_s=30)
        await ann.do("update_channel", channel=channel, archived=True)
        seq = (await ann.do("update_channel", channel=channel, retention_days=None))["seq"]
        assert "days" not in await bob.event(channel, seq)
        assert "retention_days" not in await channel_of(stack, "ret-bob", channel)


async def test_an_operator_sets_it_anywhere(stack: Stack) -> None:
    """With the scope `erase`, without membership; a stranger learns of no channel by it (P21)."""
    async with (
        Peer.opened(stack.url, "ret-eve") as eve,
        Peer.opened(stack.url, "ret-one") as one,
        Peer.opened(stack.address(1), "ret-op", scope="erase") as operator,
    ):
        channel = (await one.do("create_channel", kind="direct", members=["ret-two"]))["channel"]
        hidden = await eve.ask("update_channel", channel=channel, retention_days=1)
        absent = await eve.ask("update_channel", channel="d_nowhere", retention_days=1)
        assert hidden | {"id": 0} == absent | {"id": 0}
        assert (await one.ask("update_channel", channel=channel, retention_days=1))["code"] == "forbidden"
        assert (await operator.ask("update_channel", channel=channel, name="n"))["code"] == "not_found"
        command = {"type": "update_channel", "id": new_id(), "channel": channel, "retention_days": 1}
        await operator.send(command)
        seq = (await operator.answer(str(command["id"])))["seq"]
        assert (await one.event(channel, seq))["operator"] is True
        await operator.send(command)
        again = await operator.answer(str(command["id"]))
        assert (again["seq"], again["duplicate"]) == (seq, True)


async def expire(stack: Stack, channel: str, before: int) -> None:
    """As the archiver does."""
    key = ChannelKey(workspace_id(WORKSPACE), channel_id(channel))
    event = MessagesExpired(
        id=new_id(), author=UserId("parley"), since=Seq(1), before=Seq(before), older_than=OLDER
    )
    settings = CommonSettings(nats_url=stack.nats.url, partitions=int(PARTITIONS))
    async with Bus.connect(settings, "archiver") as bus:
        subject = channel_subject(partition_of(key, int(PARTITIONS)), key)
        await bus.commit(subject, encode(event), msg_id=event.id)


async def test_what_has_expired_is_shown_no_more(stack: Stack) -> None:
    """Live, replayed and paged, on every edge; it takes no edit; nobody but the archiver can say it."""
    async with Peer.opened(stack.url, "exp-ann") as ann, Peer.opened(stack.address(1), "exp-bob") as bob:
        channel = (await ann.do("create_channel", kind="public", name="x", channel="exp"))["channel"]
        await bob.do("join", channel=channel)
        one, two = [(await ann.do("send", channel=channel, text=f"Xsecret {n}"))["seq"] for n in range(2)]
        await ann.do("edit", channel=channel, ref=one, text="Xsecret edited")
        young = (await ann.do("send", channel=channel, text="young"))["seq"]
        await expire(stack, channel, young)  # void: messages are kept for ever here
        void = await bob.event(channel, young + 1)
        assert void["kind"] == "void"
        await ann.do("update_channel", channel=channel, retention_days=30)
        for kind in ("messages.expired", "expire"):
            told = {"since": 1, "before": young, "older_than": OLDER}
            assert (await ann.ask(kind, channel=channel, **told))["code"] == "unknown_type"
        await expire(stack, channel, young)
        last = young + 3
        event = await bob.event(channel, last)
        assert (event["kind"], event["before"], event["older_than"]) == ("messages.expired", young, OLDER)
        await ann.event(channel, last)
        for ref in (one, two):
            assert (await ann.ask("edit", channel=channel, ref=ref, text="back"))["code"] == "conflict"
        await ann.do("edit", channel=channel, ref=young, text="still young")
    for index in range(2):
        path = f"/v1/channels/{channel}/events"
        page = (await asyncio.to_thread(fetch, stack.address(index), "exp-ann", path)).json
        replayed = await all_replayed(stack.address(index), "exp-ann", channel, page["epoch"])
        for shown in (page["events"], replayed):
            assert [frame["seq"] for frame in shown] == list(range(1, last + 2))
            assert "Xsecret" not in json.dumps(shown)
            assert [frame["erased"] for frame in shown if frame.get("text") == ""] == [True] * 3
