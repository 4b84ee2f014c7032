"""The page in a scripted channel: opening it, reading its rows, writing into it."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.support.scripted_edge import ScriptedEdge, ScriptedSession, channel_info, posted


async def opened(page: Page, edge: ScriptedEdge, *, head: int = 3) -> ScriptedSession:
    """The page, live in the channel `tea` with `head` messages."""
    edge.history["tea"] = [posted(seq, f"text {seq}") for seq in range(1, head + 1)]
    await page.goto(f"{edge.url}#token=a.b.c")
    session = await edge.session()
    await session.welcome(channel_info(head=head))
    if head:
        await expect(page.locator(f"#m{head}")).to_be_visible()
    return session


async def numbers(page: Page) -> list[int]:
    """The numbers of the events that are shown, from top to bottom."""
    rows = page.locator("#messages > [data-seq]")
    return [int(await row.get_attribute("data-seq") or 0) for row in await rows.all()]


async def write(page: Page, text: str) -> None:
    """Type a message and press Enter."""
    await page.locator("#text").fill(text)
    await page.locator("#text").press("Enter")
