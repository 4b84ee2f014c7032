"""Two pages against the whole system: they chat, an edge is killed, and nothing is missing or doubled."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.bench.system import System, running
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.system, pytest.mark.timeout(180)]
RETURN_MS = 40_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system() -> AsyncIterator[System]:
    """Two edges, so that one can be away while the other goes on."""
    async with running(edges=2) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def ana(browser: Browser, system: System) -> AsyncIterator[Page]:
    """Ana's page, on the first edge."""
    context = await browser.new_context(viewport={"width": 1100, "height": 720})
    page = await context.new_page()
    await page.goto(f"{system.edges[0]}/#token={system.token('ana')}")
    await expect(page.locator("#status-text")).to_have_text("Live")
    yield page
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def bob(browser: Browser, system: System) -> AsyncIterator[Page]:
    """Bob's page, on the second edge."""
    context = await browser.new_context(viewport={"width": 1100, "height": 720})
    page = await context.new_page()
    await page.goto(f"{system.edges[1]}/#token={system.token('bob')}")
    await expect(page.locator("#status-text")).to_have_text("Live")
    yield page
    await context.close()


async def write(page: Page, text: str) -> None:
    """Type a message and press Enter."""
    await page.locator("#text").fill(text)
    await page.locator("#text").press("Enter")


async def shown(page: Page) -> list[tuple[int, str]]:
    """The messages with numbers, from top to bottom."""
    rows = await page.locator("#messages > [data-seq]:has(.text)").all()
    return [
        (int(await row.get_attribute("data-seq") or 0), await row.locator(".text").inner_text())
        for row in rows
    ]


async def lists(page: Page, name: str) -> bool:
    """Whether a public channel is there to join, once the list was refreshed."""
    await page.get_by_role("button", name="Refresh the public channels").click()
    return await page.get_by_role("button", name=f"Join {name}").is_visible()


async def meet(ana: Page, bob: Page, name: str) -> None:
    """Ana creates a public channel (#1), Bob joins it (#2)."""
    await ana.get_by_role("button", name="New channel").click()
    await ana.get_by_label("Name").fill(name)
    await ana.get_by_role("button", name="Create").click()
    await expect(ana.locator('[data-seq="1"]')).to_contain_text("ana created the channel")
    await eventually(lambda: lists(bob, name), every_s=0.2)
    await bob.get_by_role("button", name=f"Join {name}").click()
    await expect(bob.locator('[data-seq="2"]')).to_contain_text("bob joined")
    await expect(ana.locator('[data-seq="2"]')).to_contain_text("bob joined")


async def test_two_pages_chat(ana: Page, bob: Page) -> None:
    """What one writes the other sees with the same number; edits, reactions and deletions arrive."""
    await meet(ana, bob, "tea")
    await write(ana, "shall we?")
    await expect(bob.locator("#m3 .text")).to_have_text("shall we?")
    await write(bob, "yes")
    for page in (ana, bob):
        await expect(page.locator("#m4 .text")).to_have_text("yes")
        await expect(page.locator("#messages > .pending")).to_have_count(0)
    assert await shown(ana) == await shown(bob) == [(3, "shall we?"), (4, "yes")]

    await bob.locator("#m3").hover()
    await bob.get_by_label("React 🎉 to #3").click()
    await expect(ana.locator("#m3 .reaction")).to_have_text("🎉 1")
    await ana.locator("#text").press("ArrowUp")
    await write(ana, "shall we now?")
    await expect(bob.locator("#m3 .text")).to_have_text("shall we now? (edited, #6)")
    await bob.locator("#m4").hover()
    await bob.get_by_label("Delete #4").click()
    await bob.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(ana.locator("#m4 .text")).to_have_text("deleted by bob, #7")
    await expect(ana.locator("#range")).to_have_text("#1–#7 of 7, no gaps")


async def test_killed_edge_costs_nothing(ana: Page, bob: Page, system: System) -> None:
    """After kill -9 and restart of its edge a page shows what it missed; what was typed arrives once."""
    await meet(ana, bob, "work")
    await write(ana, "before")
    await expect(bob.locator("#m3 .text")).to_have_text("before")

    os.kill(system.run.supervisor, signal.SIGSTOP)  # the edge stays away until all is written
    os.kill(system.pid("edge-1"), signal.SIGKILL)
    await expect(ana.locator("#status-text")).to_contain_text("reconnecting in")
    await write(ana, "typed offline 1")
    await write(ana, "typed offline 2")
    for number in range(1, 6):
        await write(bob, f"missed {number}")
    await expect(bob.locator("#m8 .text")).to_have_text("missed 5")
    await expect(ana.locator("#messages > .pending")).to_have_count(2)
    os.kill(system.run.supervisor, signal.SIGCONT)

    await expect(ana.locator("#status-text")).to_contain_text("resumed", timeout=RETURN_MS)
    await expect(bob.locator("#m10 .text")).to_have_text("typed offline 2")
    await expect(ana.locator("#m10 .text")).to_have_text("typed offline 2")
    await expect(ana.locator("#messages > .pending")).to_have_count(0)
    missed = [(number + 3, f"missed {number}") for number in range(1, 6)]
    wanted = [(3, "before"), *missed, (9, "typed offline 1"), (10, "typed offline 2")]
    assert await shown(ana) == await shown(bob) == wanted
    await expect(ana.locator("#range")).to_have_text("#1–#10 of 10, no gaps")


async def test_pages_share_one_address(browser: Browser, system: System) -> None:
    """Opened at the address that all edges share, two pages chat, whichever edges they have met."""
    async with contextlib.AsyncExitStack() as stack:
        pages = []
        for user in ("eve", "dan"):
            context = await stack.enter_async_context(await browser.new_context())
            page = await context.new_page()
            await page.goto(f"{system.run.page}/#token={system.token(user)}")
            await expect(page.locator("#status-text")).to_have_text("Live")
            pages.append(page)
        eve, dan = pages
        await eve.get_by_role("button", name="New channel").click()
        await eve.get_by_label("Name").fill("door")
        await eve.get_by_role("button", name="Create").click()
        await eventually(lambda: lists(dan, "door"), every_s=0.2)
        await dan.get_by_role("button", name="Join door").click()
        await expect(eve.locator('[data-seq="2"]')).to_contain_text("dan joined")
        await write(eve, "which edge are you on?")
        await expect(dan.locator("#m3 .text")).to_have_text("which edge are you on?")
        await write(dan, "who knows")
        await expect(eve.locator("#m4 .text")).to_have_text("who knows")


async def test_private_channel_stays_unknown(ana: Page, bob: Page) -> None:
    """A private channel's name and text reach nobody who is no member (P21)."""
    await ana.get_by_role("button", name="New channel").click()
    await ana.get_by_label("Kind").select_option("private")
    await ana.get_by_label("Name").fill("surprise")
    await ana.get_by_role("button", name="Create").click()
    await expect(ana.locator("#name")).to_have_text("surprise")
    await write(ana, "for bob")
    await expect(ana.locator("#m2")).to_be_visible()
    secret = ana.url.partition("#channel=")[2]
    await bob.reload()
    await bob.evaluate("id => { location.hash = `#channel=${id}` }", secret)
    await expect(bob.locator(".notice")).to_contain_text("cannot be shown")
    assert "surprise" not in await bob.content()
