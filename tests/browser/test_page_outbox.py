"""The page sends what is written: once, in order, whatever happens meanwhile."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from edge.core.server_frames import Error
from tests.support.page import numbers, opened, write
from tests.support.scripted_edge import ScriptedEdge, channel_info, posted

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_sent_message_is_pending_until_its_ack(page: Page, edge: ScriptedEdge) -> None:
    """A message shows at once, gets its number with the ack, and stands once when its event comes."""
    session = await opened(page, edge)
    await write(page, "hello")
    row = page.locator("#messages > .pending")
    await expect(row).to_contain_text("hello")
    await expect(row).to_have_attribute("data-state", "flying")
    command = await session.take("send")
    await session.ack(command, 4)
    await expect(page.locator("#messages > .acked .seq")).to_have_text("#4")
    await session.send(posted(4, "hello", author="ana", command=str(command["id"])))
    await expect(page.locator("#m4")).to_contain_text("hello")
    await expect(page.locator("#messages > .pending")).to_have_count(0)


async def test_shift_enter_breaks_the_line(page: Page, edge: ScriptedEdge) -> None:
    """Shift+Enter makes a new line, Enter sends both."""
    session = await opened(page, edge)
    await page.locator("#text").fill("one")
    await page.locator("#text").press("Shift+Enter")
    await page.keyboard.type("two")
    await page.locator("#text").press("Enter")
    assert (await session.take("send"))["text"] == "one\ntwo"


async def test_messages_of_one_channel_go_in_order(page: Page, edge: ScriptedEdge) -> None:
    """The next message leaves only after the answer to the one before (P13)."""
    session = await opened(page, edge)
    for text in ("one", "two", "three"):
        await write(page, text)
    for seq, text in enumerate(("one", "two", "three"), start=4):
        command = await session.take("send")
        assert command["text"] == text
        assert session.received.empty()
        await session.ack(command, seq)


async def test_refused_message_can_be_tried_again(page: Page, edge: ScriptedEdge) -> None:
    """A refusal shows its reason; trying again is a new command with a new id."""
    session = await opened(page, edge)
    await write(page, "no")
    first = await session.take("send")
    await session.send(Error(id=str(first["id"]), code="forbidden", message="channel is archived"))
    await expect(page.locator("#messages > .failed")).to_contain_text("channel is archived")
    await page.get_by_role("button", name="Try again").click()
    again = await session.take("send")
    assert again["text"] == "no"
    assert again["id"] != first["id"]


async def test_postponed_message_keeps_its_id(page: Page, edge: ScriptedEdge) -> None:
    """An answer that says later is followed by the same command after that time (P12, P18)."""
    session = await opened(page, edge)
    await write(page, "later")
    first = await session.take("send")
    await session.send(Error(id=str(first["id"]), code="unavailable", message="away", retry_after_ms=50))
    assert (await session.take("send"))["id"] == first["id"]


async def test_message_written_offline_goes_out_once(page: Page, edge: ScriptedEdge) -> None:
    """What was sent or written without an answer goes again under its id, in order, and shows once."""
    session = await opened(page, edge)
    await write(page, "before")
    first = await session.take("send")
    await session.close()
    await expect(page.locator("#status")).to_have_attribute("data-state", "waiting")
    await write(page, "offline")
    again = await edge.session()
    await again.welcome(channel_info(head=4))
    repeated = await again.take("send")
    assert repeated["id"] == first["id"]
    await again.send(posted(4, "before", author="ana", command=str(first["id"])))
    await again.resumed(3, 4)
    await again.ack(repeated, 4, duplicate=True)
    second = await again.take("send")
    assert second["text"] == "offline"
    await again.send(posted(5, "offline", author="ana", command=str(second["id"])))
    await again.ack(second, 5)
    await expect(page.locator("#m5")).to_contain_text("offline")
    await expect(page.locator("#messages > .pending")).to_have_count(0)
    assert await numbers(page) == [1, 2, 3, 4, 5]


async def test_waiting_message_survives_a_reload(page: Page, edge: ScriptedEdge) -> None:
    """A message without an answer goes out under its id after the page was loaded again."""
    session = await opened(page, edge)
    await write(page, "keep me")
    first = await session.take("send")
    await page.reload()
    again = await edge.session()
    await again.welcome(channel_info(head=3))
    assert (await again.take("send"))["id"] == first["id"]
