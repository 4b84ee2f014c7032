"""Messages and threads through the front door: as they are now, for those who may read them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.peer import Peer, new_id, token
from tests.support.stack import Stack

PAGES_IDS = [new_id() for _ in range(6)]


async def ask(stack: Stack, user: str, path: str, status: int = 200) -> dict[str, Any]:
    """One page, or a refusal."""
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        answer = await client.get(f"/v1/channels/{path}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_messages_are_as_they_are_now(stack: Stack) -> None:
    """What was acknowledged is in the page: texts, edits, deletions, reactions and replies."""
    async with Peer.opened(stack.url, "now-ann") as ann, Peer.opened(stack.url, "now-bob") as bob:
        await ann.do("create_channel", channel="now", kind="public", name="Now")
        await bob.do("join", channel="now")
        for text in ("root", "gone", "plain"):
            await ann.do("send", channel="now", text=text)
        await bob.do("send", channel="now", text="reply", thread=3)
        await ann.do("edit", channel="now", ref=3, text="root, edited")
        await ann.do("delete", channel="now", ref=4)
        await ann.do("react", channel="now", ref=5, emoji="👍")
        await bob.do("react", channel="now", ref=5, emoji="👍")
        page = await ask(stack, "now-bob", "now/messages")
        raw = await ask(stack, "now-bob", "now/events")
    times = {event["seq"]: event["ts"] for event in raw["events"]}
    ids = {event["seq"]: event["id"] for event in raw["events"]}
    of = {seq: {"seq": seq, "ts": times[seq], "id": ids[seq], "author": "now-ann"} for seq in (3, 4, 5)}
    reply = {"seq": 6, "ts": times[6], "id": ids[6], "author": "now-bob", "text": "reply", "thread": 3}
    root = of[3] | {
        "text": "root, edited",
        "edited": {"seq": 7, "ts": times[7]},
        "reactions": [],
        "replies": {"count": 1, "last_seq": 6},
    }
    reactions = [{"emoji": "👍", "count": 2, "users": ["now-ann", "now-bob"]}]
    assert page["messages"] == [
        root,
        of[4] | {"deleted": {"seq": 8, "ts": times[8], "by": "now-ann"}, "reactions": []},
        of[5] | {"text": "plain", "reactions": reactions},
        reply | {"reactions": []},
    ]
    assert (page["channel"], page["epoch"], page["upto"]) == ("now", raw["epoch"], 10)
    thread = await ask(stack, "now-ann", "now/threads/3?limit=1")
    assert (thread["root"], thread["messages"]) == (root, [reply | {"reactions": []}])
    assert [thread[name] for name in ("more", "more_before", "more_after")] == [False, False, False]
    await ask(stack, "now-ann", "now/threads/7", 404)
    await ask(stack, "now-ann", "now/threads/99", 404)


@pytest.mark.parametrize(
    ("query", "numbers", "more"),
    [
        ("", [2, 3, 4, 5, 6], (False, False, False)),
        ("?limit=2", [5, 6], (True, True, False)),
        ("?before=5&limit=2", [3, 4], (True, True, True)),
        ("?after=2&limit=2", [3, 4], (True, True, True)),
        ("?around=4&limit=3", [3, 4, 5], (True, True, True)),
        ("?around=900&limit=1", [6], (True, True, False)),
    ],
)
async def test_pages_go_by_seq(
    stack: Stack, query: str, numbers: list[int], more: tuple[bool, bool, bool]
) -> None:
    """Of messages and of a thread alike, in every direction."""
    async with Peer.opened(stack.url, "msg-pager") as peer:
        made, *said = PAGES_IDS  # given again, they are the same events
        await peer.do("create_channel", id=made, channel="msg-pages", kind="public", name="Pages")
        for number, command in enumerate(said):
            await peer.do("send", id=command, channel="msg-pages", text=str(number))
    page = await ask(stack, "msg-pager", f"msg-pages/messages{query}")
    assert [message["seq"] for message in page["messages"]] == numbers
    assert (page["more"], page["more_before"], page["more_after"]) == more


@pytest.mark.parametrize(
    "path", ["messages?limit=0", "messages?before=1&after=1", "messages?around=x", "threads/0", "threads/x"]
)
async def test_a_bad_question_is_named(stack: Stack, path: str) -> None:
    """400, before anything is looked up."""
    assert (await ask(stack, "msg-bad", f"msg-none/{path}", 400))["code"] == "bad_request"


async def test_only_members_read_what_is_private(stack: Stack) -> None:
    """For others, and for those who were removed, the channel is not there (P21)."""
    async with Peer.opened(stack.url, "lair-cat") as peer:
        made = await peer.do("create_channel", kind="private", name="Lair", members=["lair-dan"])
        lair = made["channel"]
        await peer.do("send", channel=lair, text="psst")
        none = await ask(stack, "lair-eve", "p_000000000000000000000000/messages", 404)
        for path in (f"{lair}/messages", f"{lair}/threads/2"):
            assert (await ask(stack, "lair-dan", path))["epoch"]
            assert await ask(stack, "lair-eve", path, 404) == none
        await peer.do("kick", channel=lair, user="lair-dan")
        assert await ask(stack, "lair-dan", f"{lair}/messages", 404) == none
