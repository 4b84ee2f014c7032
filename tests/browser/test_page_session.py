"""The page keeps its session: it never skips or doubles, and says when it had to."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from edge.core.server_frames import Bye, Ping, Reset
from shared import events as e
from shared.ids import ChannelId, Epoch, Seq, UserId, new_command_id
from tests.support.page import numbers, opened
from tests.support.scripted_edge import BORN_MS, ScriptedEdge, channel_info, event, posted

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_hole_is_held_and_asked_for(page: Page, edge: ScriptedEdge) -> None:
    """An event that does not follow waits until the server filled the hole (P19)."""
    session = await opened(page, edge)
    await session.send(posted(6, "six"), posted(5, "five"))
    asked = await session.take("resume")
    assert asked["cursors"] == {"tea": {"epoch": "e1", "seq": 3}}
    assert await numbers(page) == [1, 2, 3]
    await session.send(posted(4, "four"), posted(5, "five"), posted(6, "six"))
    await session.resumed(3, 6)
    await expect(page.locator("#m6")).to_be_visible()
    assert await numbers(page) == [1, 2, 3, 4, 5, 6]


async def test_repetition_is_dropped(page: Page, edge: ScriptedEdge) -> None:
    """An event that comes twice is shown once."""
    session = await opened(page, edge)
    await session.send(posted(4, "four"), posted(4, "four"), posted(2, "text 2"), posted(5, "five"))
    await expect(page.locator("#m5")).to_be_visible()
    assert await numbers(page) == [1, 2, 3, 4, 5]


async def test_head_above_the_number_makes_it_ask(page: Page, edge: ScriptedEdge) -> None:
    """A ping whose head is above the page's number is answered by a question (P8)."""
    session = await opened(page, edge)
    await session.send(Ping(heads={ChannelId("tea"): Seq(5)}, server_time="2026-11-25T10:00:00.000Z"))
    await session.take("pong")
    asked = await session.take("resume")
    assert asked["cursors"] == {"tea": {"epoch": "e1", "seq": 3}}


async def test_lost_connection_resumes_with_cursors(page: Page, edge: ScriptedEdge) -> None:
    """After a loss the page comes back with its cursors, and says what it received."""
    session = await opened(page, edge)
    await session.close()
    await expect(page.locator("#status")).to_have_attribute("data-state", "waiting")
    await expect(page.locator("#status-text")).to_contain_text("reconnecting in")
    again = await edge.session()
    assert again.hello["cursors"] == {"tea": {"epoch": "e1", "seq": 3}}
    await again.welcome(channel_info(head=5))
    await again.send(posted(4, "four"), posted(5, "five"))
    await again.resumed(3, 5)
    await expect(page.locator("#status-text")).to_have_text("Live; resumed, 2 missed events received")
    assert await numbers(page) == [1, 2, 3, 4, 5]


async def test_gap_is_shown_and_can_be_loaded(page: Page, edge: ScriptedEdge) -> None:
    """A hole that the server names stands between the events, and its button fills it from history."""
    session = await opened(page, edge)
    await session.close()
    again = await edge.session()
    edge.history["tea"] += [posted(seq, f"text {seq}") for seq in range(4, 31)]
    await again.welcome(channel_info(head=30))
    await again.resumed(3, 30, complete=False, count=0, gap={"from": 3, "to": 30, "reason": "too_far"})
    await again.send(posted(31, "after"))
    await expect(page.locator("[data-gap]")).to_contain_text("#4 to #30 are missing here")
    await expect(page.locator("#m31")).to_be_visible()
    await expect(page.locator("#range")).to_contain_text("27 missing")
    await expect(page.locator("#m31 .text")).to_have_text("after")
    assert await numbers(page) == [1, 2, 3, 31]
    await page.get_by_role("button", name="Load 27 missing events").click()
    await expect(page.locator("[data-gap]")).to_have_count(0)
    await expect(page.locator("#m30 .text")).to_have_text("text 30")
    assert await numbers(page) == list(range(1, 32))


async def test_reset_starts_the_channel_again(page: Page, edge: ScriptedEdge) -> None:
    """A foreign epoch is said plainly, and the channel is loaded anew."""
    session = await opened(page, edge)
    edge.history["tea"] = [posted(1, "new log")]
    await session.send(
        Reset(channel=ChannelId("tea"), reason="log_regressed", epoch=Epoch("e2"), head=Seq(1))
    )
    await expect(page.locator("#notices")).to_contain_text("log_regressed")
    await expect(page.locator("#m1 .text")).to_have_text("new log")
    assert await numbers(page) == [1]


async def test_expired_token_leads_to_the_form(page: Page, edge: ScriptedEdge) -> None:
    """After a final close code the page does not come back by itself, it asks for a token (P10)."""
    session = await opened(page, edge)
    await session.send(Bye(code=4501, reason="token_expired", resumable=False))
    await session.close(4501, "token_expired")
    await expect(page.locator("#signin-reason")).to_contain_text("token_expired (4501)")
    await expect(page.locator("#token")).to_be_focused()


async def test_silent_server_is_given_up(page: Page, edge: ScriptedEdge) -> None:
    """One and a half silent heartbeat intervals end the connection, and the page comes back (P8)."""
    await page.goto(f"{edge.url}#token=a.b.c")
    session = await edge.session()
    await session.welcome(channel_info(), heartbeat_s=0.4)
    assert (await edge.session()).hello["cursors"] == {"tea": {"epoch": "e1", "seq": 0}}


async def test_removed_member_is_told(page: Page, edge: ScriptedEdge) -> None:
    """After a removal the channel leaves the list, its text stays readable, and nothing can be written."""
    session = await opened(page, edge)
    removal = e.MemberRemoved(id=new_command_id(BORN_MS), author=UserId("bob"), user=UserId("ana"))
    await session.send(event(4, removal), {"type": "channel", "member": False, "channel": {"id": "tea"}})
    await expect(page.locator('[data-seq="4"]')).to_contain_text("bob removed ana")
    await expect(page.locator("#mine a")).to_have_count(0)
    await expect(page.locator("#composer")).to_be_hidden()
