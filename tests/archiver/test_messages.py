"""Pages of messages equal a fold of the whole log, wherever its events lie and whatever goes on meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

import pytest

from archiver.core.messages import USERS_MAX
from archiver.duck import Duck, Parameters, Rows
from archiver.messages import Messages
from archiver.threads import T, Threads, Ts
from shared import events as e
from shared.ids import ChannelKey, Seq, UserId, new_command_id
from shared.message_records import Message, MessagesPage, Replies
from shared.records import HistoryRequest
from tests.support.archive import ALICE, created, key_of, posted
from tests.support.archived_messages import Archived
from tests.support.events import NOW_MS
from tests.support.naive_messages import folded, random_events

TEA, GO = key_of("tea"), key_of("go")


@pytest.fixture
def archived(tmp_path: Path) -> Iterator[Archived]:
    """An empty archive."""
    archived = Archived(tmp_path / "archive")
    yield archived
    archived.close()


def check(page: MessagesPage, truth: Sequence[Message], first: int, last: int) -> None:
    """The page is this slice of all messages, and says what lies beyond it."""
    assert list(page.messages) == list(truth[first:last])
    assert (page.more_before, page.more_after) == (first > 0, last < len(truth))


async def check_all(archived: Archived, key: ChannelKey, rng: random.Random, pages: int) -> None:
    """Random pages of a channel and of its threads against the fold of its log."""
    log = archived.logs[key]
    messages = folded(log)
    threads = [None, *rng.sample(sorted(messages), min(len(messages), 3)), Seq(1), Seq(len(log) + 5)]
    for _ in range(pages):
        thread = rng.choice(threads)
        of = thread and {"thread": thread}
        truth = [it for it in messages.values() if thread is None or it.thread == thread < it.seq]
        limit = rng.choice([1, 2, 7, 200])
        seq = rng.randint(1, len(log) + 2)
        below = sum(it.seq < seq for it in truth)
        before = await archived.page(key, before=seq, limit=limit, **(of or {}))
        after = await archived.page(key, after=seq - 1, limit=limit, **(of or {}))
        around = await archived.page(key, around=seq, limit=limit, **(of or {}))
        newest = await archived.page(key, limit=limit, **(of or {}))
        first = max(0, min(below - limit // 2, len(truth) - limit))
        if below == len(truth):
            first = max(0, below - limit)
        check(around, truth, first, min(first + limit, len(truth)))
        check(newest, truth, max(0, len(truth) - limit), len(truth))
        if truth:
            check(before, truth, max(0, below - limit), below)
            check(after, truth, below, min(below + limit, len(truth)))
        for page in (before, after, around, newest):
            assert page.upto == len(log)
            assert page.root == (None if thread is None else messages.get(thread))


@pytest.mark.parametrize(("seed", "erasing"), [(1, False), (2, True), (3, True)])
async def test_pages_equal_a_fold_of_the_log(archived: Archived, seed: int, erasing: bool) -> None:
    """Hot, archived, merged, erased, across every seam, after a restart and with a cache made anew."""
    rng = random.Random(seed)
    logs = {key: list(random_events(rng, 120, erasing=erasing)) for key in (TEA, GO)}
    for step in range(12):
        for key, log in logs.items():
            taken, logs[key] = log[:10], log[10:]
            archived.add(key, taken)
            await check_all(archived, key, rng, 1)
        if step != 6:
            await archived.commit()
        if step % 3 == 2:
            await archived.merge()
            await archived.erase()
        await check_all(archived, rng.choice([TEA, GO]), rng, 1)
    await archived.commit()
    archived.archive.close()
    for leftover in archived.cache_dir.iterdir():
        leftover.unlink()
    archived.open()
    for key in (TEA, GO):
        await check_all(archived, key, rng, 5)


async def test_pages_stay_right_while_everything_moves(archived: Archived) -> None:
    """Commits, merges and erasures go on: each page is the log's fold at the event that the page names."""
    rng = random.Random(5)
    events = random_events(rng, 400, erasing=True)
    archived.add(TEA, events[:40])
    ended = asyncio.Event()

    async def read() -> int:
        pages = 0
        while not ended.is_set():
            known = len(archived.logs[TEA])
            seq, limit = rng.randint(1, known), rng.choice([3, 20, 200])
            place = rng.choice(["before", "around"])
            page = await archived.page(TEA, **{place: seq}, limit=limit)
            assert page.upto >= known
            truth = list(folded(archived.logs[TEA][: page.upto]).values())
            shown = [it for it in page.messages if not it.erased]
            found = {message.seq for message in page.messages}
            assert shown == [it for it in truth if it.seq in found and it.seq in {one.seq for one in shown}]
            seqs = [it.seq for it in truth]
            first = seqs.index(page.messages[0].seq) if page.messages else 0
            assert [it.seq for it in page.messages] == seqs[first : first + len(page.messages)]
            pages += 1
        return pages

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for start in range(40, 400, 12):
        committing = asyncio.create_task(archived.commit())
        await asyncio.sleep(0)
        archived.add(TEA, events[start : start + 12])
        await committing
        await archived.merge()
        await archived.erase()
    ended.set()
    assert all(pages > 3 for pages in await asyncio.gather(*readers))


async def test_ten_thousand_reactions(archived: Archived) -> None:
    """On one message, and between two: counted to the last, a hundred users named, few rows read."""
    crowd = [UserId(f"user{number:05}") for number in range(10_000)]
    archived.add(TEA, [created(), posted("first")])
    archived.add(TEA, [reaction(user, "👍") for user in crowd])
    await archived.commit()
    archived.add(
        TEA, [reaction(crowd[0], "👍"), reaction(crowd[7], "👍", e.ReactionRemoved), posted("second")]
    )
    archived.add(TEA, [reaction(UserId("a newcomer"), "👍"), reaction(ALICE, "☕")])
    for _ in range(2):
        page = await archived.page(TEA, before=10_005, limit=5)
        first, second = [*(await archived.page(TEA, limit=5)).messages]
        assert [message.text for message in page.messages] == ["first"]
        assert (first.text, second.seq, second.text) == ("first", 10_005, "second")
        thumb, coffee = first.reactions
        assert (thumb.emoji, thumb.count, coffee.users) == ("👍", 10_000, (ALICE,))
        assert thumb.users == (UserId("a newcomer"), *crowd[:7], *crowd[8:USERS_MAX])
        await archived.commit()


async def test_a_long_thread(archived: Archived) -> None:
    """Paged both ways, each reply once; what was deleted is shown as such and does not count."""
    archived.add(TEA, [created(), posted("root")])
    archived.add(TEA, [posted(f"reply {number}", thread=2) for number in range(3_000)])
    await archived.commit()
    archived.add(TEA, [deletion(seq) for seq in (3, 2_999, 3_001, 3_002)])
    archived.add(TEA, [posted("last", thread=2), posted("aside")])
    for _ in range(2):
        seqs: list[int] = []
        page = await archived.page(TEA, thread=2, after=0, limit=200)
        while page.messages:
            seqs += [message.seq for message in page.messages]
            assert page.root is not None
            assert page.root.replies == Replies(count=2_997, last_seq=Seq(3_007))
            page = await archived.page(TEA, thread=2, after=seqs[-1], limit=200)
        assert seqs == [*range(3, 3_003), 3_007]
        newest = (await archived.page(TEA, thread=2, limit=3)).messages
        assert [(message.seq, message.text) for message in newest] == [
            (3001, None),
            (3002, None),
            (3007, "last"),
        ]
        await archived.commit()
    archived.add(TEA, [deletion(3), posted("very last", thread=2)])
    for _ in range(2):
        page = await archived.page(TEA, thread=2, after=0, limit=1)
        assert page.root is not None
        assert page.root.replies == Replies(count=2_998, last_seq=Seq(3_010))
        assert page.messages[0].deleted is not None
        assert page.messages[0].deleted.seq == 3_003
        await archived.commit()
    assert (await archived.page(TEA, thread=1)).root is None
    assert (await archived.page(TEA, thread=4_000)).root is None
    assert (await archived.page(GO, thread=2)).messages == ()


async def test_the_cache_holds_no_text(archived: Archived) -> None:
    """What is said, and said anew, stands in Parquet only: there it can be erased."""
    archived.add(TEA, [created(), posted("Xsecret-posted"), edit(2, "Xsecret-edited")])
    await archived.commit()
    archived.archive.close()
    assert all(b"Xsecret" not in path.read_bytes() for path in archived.cache_dir.iterdir())
    archived.open()
    assert [message.text for message in (await archived.page(TEA)).messages] == ["Xsecret-edited"]


class Interrupted(Threads):
    """Lookups beside which something else happens: behind the first one of a page, or before the others."""

    def __init__(self) -> None:
        super().__init__("lookup", 2)
        self.behind: Callable[[], None] = lambda: None
        self.before: Callable[[], None] = lambda: None

    async def run_together(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        found = await super().run_together(function, *args)
        self.behind()
        return found

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        self.before()
        return await super().run(function, *args)


@pytest.mark.parametrize("place", ["behind", "before"])
@pytest.mark.parametrize("step", ["commit", "record", "add and commit"])
async def test_a_commit_between_two_lookups(archived: Archived, place: str, step: str) -> None:
    """Whichever part of it comes between: nothing is missing, and nothing counts twice."""
    lookups = Interrupted()
    archived.messages = Messages(archived.archive, archived.history, lookups)
    archived.add(TEA, [created(), posted("root"), posted("one", thread=2), reaction(ALICE, "👍")])
    await archived.commit()
    newer = [posted("two", thread=2), reaction(UserId("bob"), "👍"), deletion(3), edit(2, "edited")]
    archived.add(TEA, newer)
    done: list[bool] = []

    def interrupt() -> None:
        if not done:
            done.append(True)
            if step == "add and commit":
                archived.add(
                    TEA, [reaction(UserId("bob"), "👍", e.ReactionRemoved), posted("three", thread=2)]
                )
            batch = archived.archive.hot.cut()
            manifest = archived.archive.write(batch)
            if step != "record":
                archived.archive.committed(batch, manifest)

    setattr(lookups, place, interrupt)
    page = await archived.page(TEA)
    assert done
    assert list(page.messages) == list(folded(archived.logs[TEA][: page.upto]).values())
    assert page.upto >= 8
    lookups.close()


class Slow(Duck):
    """A DuckDB whose answers come when what is to be erased has just been taken out of the files."""

    archived: Archived

    async def rows(self, sql: str, parameters: Parameters, *, timeout_s: float) -> Rows:
        rows = await super().rows(sql, parameters, timeout_s=timeout_s)
        await self.archived.erase()
        return rows


async def test_erased_while_it_was_read(tmp_path: Path) -> None:
    """Files that were pinned before an erasure was carried out still hold the text: no page shows it."""
    duck = Slow(workers=1, memory_limit="256MB", waiting_max=4)
    for place in ("messages", "events"):
        duck.archived = archived = Archived(tmp_path / place, duck)
        archived.add(TEA, [created(), posted("Xsecret")])
        await archived.commit()
        archived.add(TEA, [e.MessageErased(id=new_command_id(NOW_MS), author=ALICE, ref=Seq(2))])
        await archived.commit()
        request = HistoryRequest(workspace=TEA.workspace, channel=TEA.channel)
        if place == "messages":
            shown = (await archived.page(TEA)).model_dump_json()
        else:
            shown = (await archived.history.page(request)).model_dump_json()
        assert "erased" in shown
        assert "Xsecret" not in shown
        archived.archive.close()
    duck.close()


def reaction(
    user: UserId, emoji: str, kind: type[e.ReactionAdded | e.ReactionRemoved] = e.ReactionAdded
) -> e.KnownEvent:
    """A reaction to the channel's first message, from elsewhere: anybody's."""
    imported = e.Imported(by=UserId("importer"), at="2020-01-01T00:00:00Z")
    return kind(id=new_command_id(NOW_MS), author=user, imported=imported, ref=Seq(2), emoji=emoji)


def deletion(seq: int) -> e.MessageDeleted:
    """A deletion by the author."""
    return e.MessageDeleted(id=new_command_id(NOW_MS), author=ALICE, ref=Seq(seq), ref_author=ALICE)


def edit(seq: int, text: str) -> e.MessageEdited:
    """An edit by the author."""
    return e.MessageEdited(id=new_command_id(NOW_MS), author=ALICE, ref=Seq(seq), ref_author=ALICE, text=text)
