"""The page against a scripted server: what it shows, and what it makes of clicks and keys."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from playwright.async_api import Page, expect

from shared import events as e
from shared.ids import Seq, UserId, new_command_id
from tests.support.page import numbers, opened, write
from tests.support.scripted_edge import BORN_MS, ScriptedEdge, channel_info, event, posted

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_token_goes_from_the_fragment_into_hello(page: Page, edge: ScriptedEdge) -> None:
    """The token is sent in hello, and stays neither in the address nor in any request's address."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    session = await opened(page, edge)
    assert session.hello["token"] == "a.b.c"
    assert session.hello["batch"] is True
    assert "token" not in page.url
    assert not [url for url in seen if "a.b.c" in url.partition("#")[0]]


async def test_pasted_token_signs_in(page: Page, edge: ScriptedEdge) -> None:
    """Without a token the page asks for one in a labelled form."""
    await page.goto(edge.url)
    await page.get_by_label("Token").fill("x.y.z")
    await page.get_by_role("button", name="Sign in").click()
    assert (await edge.session()).hello["token"] == "x.y.z"


async def test_events_show_with_their_numbers(page: Page, edge: ScriptedEdge) -> None:
    """History and live events stand in order, each with its number, batches included."""
    session = await opened(page, edge)
    await session.send([posted(4, "four"), posted(5, "five")], posted(6, "six"))
    await expect(page.locator("#m6 .text")).to_have_text("six")
    assert await numbers(page) == [1, 2, 3, 4, 5, 6]
    await expect(page.locator("#m6 .seq")).to_have_text("#6")
    await expect(page.locator("#range")).to_have_text("#1–#6 of 6, no gaps")


async def test_markup_in_a_message_is_text(page: Page, edge: ScriptedEdge) -> None:
    """Whatever a message holds is shown as text."""
    session = await opened(page, edge)
    hostile = "<img src=x onerror=alert(1)> <b>bold</b>"
    await session.send(posted(4, hostile, author="<i>bob</i>"))
    await expect(page.locator("#m4 .text")).to_have_text(hostile)
    await expect(page.locator("#messages img, #messages i")).to_have_count(0)


async def test_edits_reactions_and_deletions_fold_in_any_order(page: Page, edge: ScriptedEdge) -> None:
    """A change that is known before its message applies to it; the highest number wins."""
    one = new_command_id(BORN_MS)
    about = {"id": one, "author": UserId("bob"), "ref": Seq(1)}
    later = [
        event(52, e.MessageEdited(**about, ref_author=UserId("bob"), text="second edit")),
        event(53, e.ReactionAdded(**about, emoji="🎉")),
        event(54, e.ReactionAdded(**about, emoji="👍")),
        event(55, e.ReactionRemoved(**about, emoji="🎉")),
        event(56, e.MessageDeleted(id=one, author=UserId("bob"), ref=Seq(2), ref_author=UserId("bob"))),
    ]
    first = [posted(seq, f"text {seq}") for seq in range(1, 51)]
    edit = event(51, e.MessageEdited(**about, ref_author=UserId("bob"), text="first edit"))
    edge.history["tea"] = [*first, edit, *later]
    await page.goto(f"{edge.url}#token=a.b.c")
    session = await edge.session()
    await session.welcome(channel_info(head=56))
    await expect(page.locator("#m7")).to_be_attached()
    await page.locator("#scroll").evaluate("element => element.scrollTo(0, 0)")
    await expect(page.locator("#m1 .text")).to_have_text("second edit (edited, #52)")
    await expect(page.locator("#m1 .reaction")).to_have_text("👍 1")
    await expect(page.locator("#m2 .text")).to_have_text("deleted by bob, #56")


async def test_what_is_erased_is_gone(page: Page, edge: ScriptedEdge) -> None:
    """A tombstone with the number, in answers and edits too; no text is left, whatever is drawn or begun."""
    session = await opened(page, edge)
    who = {"id": new_command_id(BORN_MS), "author": UserId("ana")}
    root = e.MessagePosted(**who, text="Xsecret root")
    answer = e.MessagePosted(**who, text="an answer", thread=Seq(4))
    edit = e.MessageEdited(**who, ref=Seq(4), ref_author=UserId("ana"), text="Xsecret edit")
    other = e.MessagePosted(id=who["id"], author=UserId("bob"), text="Xsecret of bob")
    await session.send(event(4, root), event(5, answer), event(6, edit), event(7, other))
    await expect(page.locator("#m5 .answers")).to_contain_text("Xsecret edit")
    await page.locator("#m4").hover()
    await page.get_by_label("Edit #4").click()
    await expect(page.locator("#text")).to_have_value("Xsecret edit")
    erasing = {"id": who["id"], "author": UserId("operator")}
    await session.send(event(8, e.MessageErased(**erasing, ref=Seq(4))))
    await expect(page.locator("#m4 .text")).to_have_text("erased, #8")
    await expect(page.locator("#m5 .answers")).to_contain_text("an earlier message")
    await expect(page.locator("#text")).to_have_value("")
    await session.send(event(9, e.UserErased(**erasing, user=UserId("bob"))))
    await expect(page.locator("#m7 .text")).to_have_text("erased, #9")
    await expect(page.locator('[data-seq="9"]')).to_contain_text("what bob had said here was erased")
    left = e.MessagePosted(**who, text="", erased=True)
    await session.send(event(10, replace(edit, text="Xsecret late")), event(11, left))
    await expect(page.locator("#m11 .text")).to_have_text("erased")
    await expect(page.locator("#m4 .text")).to_have_text("erased, #8")
    assert "Xsecret" not in await page.content()
    assert await numbers(page) == [1, 2, 3, 4, 5, 7, 9, 11]


async def test_what_has_expired_is_gone(page: Page, edge: ScriptedEdge) -> None:
    """Below the number, whoever said it, whenever it comes; what is younger stays, and a line says so."""
    session = await opened(page, edge)
    who = {"id": new_command_id(BORN_MS), "author": UserId("ana")}
    root = e.MessagePosted(**who, text="Xsecret root")
    edit = e.MessageEdited(**who, ref=Seq(4), ref_author=UserId("ana"), text="Xsecret edit")
    await session.send(event(4, root), event(5, edit), event(6, e.MessagePosted(**who, text="young")))
    await expect(page.locator("#m4 .text")).to_contain_text("Xsecret edit")
    expired = e.MessagesExpired(**who, since=Seq(1), before=Seq(6), older_than="2026-10-28T00:00:00.000Z")
    late = e.MessageEdited(**who, ref=Seq(4), ref_author=UserId("ana"), text="Xsecret late")
    await session.send(event(7, e.ChannelRetentionSet(**who, days=30)), event(8, expired), event(9, late))
    await expect(page.locator("#m4 .text")).to_have_text("erased, #8")
    await expect(page.locator("#m6 .text")).to_have_text("young")
    await expect(page.locator('[data-seq="7"]')).to_contain_text("ana lets messages be kept for 30 days")
    await expect(page.locator('[data-seq="8"]')).to_contain_text(
        "what was said before 2026-10-28 has expired"
    )
    assert "Xsecret" not in await page.content()


async def test_actions_of_a_message_are_commands(page: Page, edge: ScriptedEdge) -> None:
    """Reacting, editing and deleting name the message's number."""
    session = await opened(page, edge)
    await session.send(posted(4, "mine", author="ana"))
    await page.locator("#m4").hover()
    await page.get_by_label("React 👍 to #4").click()
    reaction = await session.take("react")
    assert reaction.items() >= {"ref": 4, "emoji": "👍", "channel": "tea"}.items()
    await session.ack(reaction, 5)
    await page.get_by_label("Edit #4").click()
    await write(page, "mine too")
    edit = await session.take("edit")
    assert edit.items() >= {"ref": 4, "text": "mine too"}.items()
    await session.ack(edit, 6)
    await page.get_by_label("Delete #4").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    assert (await session.take("delete"))["ref"] == 4


async def test_actions_are_reached_by_keyboard(page: Page, edge: ScriptedEdge) -> None:
    """One tab stop leads to a message's actions, arrows move among them, the focus survives a change."""
    session = await opened(page, edge)
    await page.get_by_label("Actions for #3").focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("React 👍 to #3")).to_be_focused()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    reaction = await session.take("react")
    await session.ack(reaction, 4)
    await session.send(
        event(4, e.ReactionAdded(id=new_command_id(BORN_MS), author=UserId("ana"), ref=Seq(3), emoji="❤️"))
    )
    await expect(page.locator("#m3 .reaction")).to_have_text("❤️ 1")
    await expect(page.get_by_label("React ❤️ to #3")).to_be_focused()


async def test_void_event_is_a_note(page: Page, edge: ScriptedEdge) -> None:
    """An event without effect keeps its number and says so."""
    session = await opened(page, edge)
    await session.send(
        event(4, e.MessagePosted(id=new_command_id(BORN_MS), author=UserId("eve"), text="x"), void="no")
    )
    await expect(page.locator('[data-seq="4"]')).to_contain_text("an event of eve had no effect")


async def test_scrolling_up_loads_history(page: Page, edge: ScriptedEdge) -> None:
    """Scrolling to the top pages back by number, without a hole, down to the first."""
    await opened(page, edge, head=180)
    for oldest in (81, 31, 1):
        await page.locator("#scroll").evaluate("element => element.scrollTo(0, 0)")
        await expect(page.locator(f"#m{oldest}")).to_be_attached()
    await expect(page.locator("#top")).to_have_text("This is the beginning of the channel.")
    assert await numbers(page) == list(range(1, 181))


async def test_history_that_fails_can_be_tried_again(page: Page, edge: ScriptedEdge) -> None:
    """A failed page of history is said once and loaded on request."""
    edge.refuse_history = True
    edge.history["tea"] = [posted(1, "one")]
    await page.goto(f"{edge.url}#token=a.b.c")
    await (await edge.session()).welcome(channel_info(head=1))
    await expect(page.locator(".notice")).to_contain_text("the archive is away")
    edge.refuse_history = False
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("#m1")).to_be_visible()


async def test_unread_counts_and_read_markers(page: Page, edge: ScriptedEdge) -> None:
    """Another channel counts its messages; opening it reads them and tells the server (P15)."""
    await page.goto(f"{edge.url}#token=a.b.c")
    session = await edge.session()
    await session.welcome(channel_info("tea"), channel_info("work", head=2, read=1, unread=1))
    edge.history["work"] = [posted(1, "one", channel="work"), posted(2, "two", channel="work")]
    await session.send(posted(3, "three", channel="work"))
    edge.history["work"].append(posted(3, "three", channel="work"))
    count = page.locator("#mine .count")
    await expect(count).to_have_text("2")
    assert (await page.title()).startswith("(2)")
    await page.get_by_role("link", name="work").click()
    assert (await session.take("read")).items() >= {"channel": "work", "seq": 3}.items()
    await expect(count).to_have_count(0)
    await expect(page.locator(".rule.unread + [data-seq]")).to_have_attribute("data-seq", "2")


async def test_typing_shows_and_ends_with_the_message(page: Page, edge: ScriptedEdge) -> None:
    """Who types is shown until the message comes; one's own typing is told to the server (P16)."""
    session = await opened(page, edge)
    await session.send({"type": "typing", "channel": "tea", "user": "bob"})
    await expect(page.locator("#typing")).to_have_text("bob is typing …")
    await session.send(posted(4, "done"))
    await expect(page.locator("#typing")).to_have_text("")
    await page.locator("#text").press_sequentially("hi")
    assert (await session.take("typing"))["channel"] == "tea"


async def test_creating_and_joining(page: Page, edge: ScriptedEdge) -> None:
    """A public channel's id is made from its name; a listed one is joined by its button."""
    edge.listed = [channel_info("open", head=7)]
    session = await opened(page, edge)
    await page.get_by_role("button", name="New channel").click()
    await page.get_by_label("Name").fill("Tea & Cake")
    await page.get_by_role("button", name="Create").click()
    command = await session.take("create_channel")
    assert command.items() >= {"kind": "public", "channel": "tea-cake", "name": "Tea & Cake"}.items()
    await page.get_by_role("button", name="Join open").click()
    assert (await session.take("join"))["channel"] == "open"


async def test_new_public_channels_show(page: Page, edge: ScriptedEdge) -> None:
    """What others have created shows when the user turns to the channels or asks, without a reload."""
    await opened(page, edge)
    await expect(page.locator("#public-none")).to_be_visible()
    edge.listed = [channel_info("open")]
    await page.locator("#mine").hover()
    await expect(page.get_by_role("button", name="Join open")).to_be_visible()
    await expect(page.locator("#public-none")).to_be_hidden()
    edge.listed = [channel_info("open"), channel_info("later")]
    await page.get_by_role("button", name="Refresh the public channels").click()
    await expect(page.get_by_role("button", name="Join later")).to_be_visible()
