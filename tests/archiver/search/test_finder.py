"""Finding: what people type, in every script (AT-41, AT-42, AT-43), by whoever may read it (AT-46)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from archiver.core.query import parse
from archiver.search import plan
from archiver.search.finder import Finder
from archiver.search.index import SearchIndex
from shared import events as e
from shared.ids import ChannelId, StreamSeq, UserId, new_command_id
from shared.search import COUNT_MAX, SearchPlace
from tests.support.archive import ALICE, WORKSPACE, posted
from tests.support.events import NOW_MS
from tests.support.search import Log, ask, found, indexed, places

ROWS = {
    "AT-42": [
        ("Fixed PLT-3699 today", ["PLT-3699", "plt-3699", "3699", "PLT-36*"], ["PLT-369", "#plt"]),
        ("12 plt of 3699 pieces", ["plt", "3699"], ["PLT-3699", "plt/3699"]),
        ("about #foo-123!", ["#foo-123", "foo-123", "#foo", "123"], ["#123", "@foo"]),
        ("I write C++ and C#", ["C++", "c#", "c", '"C++ and C#"'], ["c+++d", "F#", ".c"]),
        (".NET Core, v1.2.3", [".net", "net", "v1.2.3", "1.2.3", "v1.2", "1.2*"], ["v1.3", "2.1"]),
        ("mail ada.l@example.co.uk", ["ada.l@example.co.uk", "example.co.uk", "@example"], ["ada@example"]),
        ("see https://x.org/a_b-c/d?q=1#f", ["https://x.org/a_b-c/d?q=1", "x.org", "a_b"], ["x.com"]),
        ("set max_retry_count", ["max_retry_count", "retry", "max_retry"], ["max_count"]),
        ("go to I/O at 5", ["go", "i/o", "5", "at", "to"], ["o/i"]),
        ("10.0.0.1:8080 down", ["10.0.0.1", "10.0.0.1:8080", "8080"], ["10.0.1"]),
    ],
    "AT-41": [
        ("我今天去北京大学上课", ["北京", "大学", "北京大学", "课", "我", "今"], ["京北", "学大"]),
        ("今日は東京タワーへ行きました", ["東京", "タワー", "東京タワー", "行き", "へ"], ["大阪", "ワタ"]),
        ("내일 서울에서 만나요", ["서울", "서울에서", "만나", "울"], ["부산", "울서"]),
        ("ｶﾀｶﾅ と カタカナ", ["カタカナ", "ｶﾀｶﾅ", "タカ"], ["ひらがな"]),
        ("混合 mixed 文字C++です", ["混合", "mixed", "文字", "c++", "です"], ["文です"]),
        ("ภาษาไทยง่าย", ["ภาษา", "ไทย", "ง่าย"], ["จีน"]),
    ],
    "AT-43": [
        ("Größe, Straße, Zürich", ["größe", "GRÖSSE", "STRASSE", "zurich", "Zu\u0308rich"], ["gross"]),
        ("İstanbul ve ISPARTA", ["istanbul", "İSTANBUL", "isparta"], ["ıstanbu"]),
        ("Café naïve Ångström Łódź", ["cafe", "CAFE\u0301", "naive", "angstrom", "lodz", "ŁÓDŹ"], ["caf"]),
        ("Ёлка и Ὀδυσσεύς", ["елка", "ЁЛКА", "οδυσσευσ", "ΟΔΥΣΣΕΎΣ"], ["елк"]),
        ("हिन्दी में", ["हिन्दी"], ["हन्द"]),
        ("كِتَابٌ جديد", ["كتاب", "كِتَاب"], ["كتب"]),
    ],
    "emoji": [
        ("done 👍🏽 :tada:", ["👍", "👍🏿", ":tada:", "tada"], ["👎", ":done:"]),
        ("she is 👩🏽\u200d💻 today", ["👩\u200d💻", "💻", "👩", "👩🏿\u200d💻"], ["👨\u200d💻"]),
        ("from 🇩🇪 to 🇫🇷", ["🇩🇪", "🇫🇷"], ["🇪🇫"]),
        ("+1 from me ❤️", ["+1", "❤", "❤️"], ["+2"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_what_people_type_is_found(tmp_path: Path, row: str) -> None:
    """By all of these, by none of those; and by nothing of what the others say."""
    log = Log()
    log.say("noise", "something else entirely")
    said = [(log.say("tea", text), hits, misses) for text, hits, misses in ROWS[row]]
    index = indexed(tmp_path, log)
    for seq, hits, misses in said:
        for query in hits:
            assert f"tea/{seq}" in found(index, query), query
        for query in misses:
            assert f"tea/{seq}" not in found(index, query), query
    assert found(index, "entirely") == ["noise/2"]
    index.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[SearchIndex]:
    """Three channels and three people over two days."""
    log = Log()
    day_us = 86_400_000_000
    began_us = 1_795_564_800_000_000  # 2026-11-25T00:00:00Z
    log.write(
        "tea",
        e.ChannelCreated(id=new_command_id(NOW_MS), author=ALICE, channel_kind="public", name="Tea Room"),
    )
    said = [
        ("tea", "hello kettle", "ada", {}),
        ("tea", "kettle is on https://x.org/kettle.pdf", "bob", {"thread": 2}),
        ("p_1", "secret kettle", "ada", {}),
        ("go", "no kettle www.go.dev", "Größe", {}),
        ("go", "a cup", "ada", {}),
    ]
    for number, (channel, text, author, fields) in enumerate(said):
        log.write(channel, posted(text, UserId(author), **fields), began_us + number * day_us // 2)
    imported = {"by": "importer", "at": "2004-11-15T12:00:00Z"}
    ancient = posted("ancient kettle", UserId("zoe"), imported=imported)
    log.write("go", ancient, began_us + 3 * day_us)
    log.write("tea", e.ChannelRenamed(id=new_command_id(NOW_MS), author=ALICE, name="Kettle Club"))
    log.react("go", 3)
    index = indexed(tmp_path, log)
    yield index
    index.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kettle", ["go/4", "go/2", "p_1/2", "tea/3", "tea/2"]),
        ("kettle -secret", ["go/4", "go/2", "tea/3", "tea/2"]),
        ("from:ada", ["go/3", "p_1/2", "tea/2"]),
        ("from:ADA kettle", ["p_1/2", "tea/2"]),
        ("from:grosse", ["go/2"]),
        ("from:ada from:bob", ["go/3", "p_1/2", "tea/3", "tea/2"]),
        ("kettle -from:ada", ["go/4", "go/2", "tea/3"]),
        ("from:nobody", []),
        ("from:me", ["go/3", "p_1/2", "tea/2"]),
        ("in:tea", ["tea/3", "tea/2"]),
        ('in:"tea room"', ["tea/3", "tea/2"]),
        ('in:"kettle club" hello', ["tea/2"]),
        ("kettle -in:tea", ["go/4", "go/2", "p_1/2"]),
        ("in:tea in:p_1 kettle", ["p_1/2", "tea/3", "tea/2"]),
        ("has:link", ["go/2", "tea/3"]),
        ("has:file", ["tea/3"]),
        ("has:link -has:file", ["go/2"]),
        ("has:reaction", ["go/3"]),
        ("kettle -has:link", ["go/4", "p_1/2", "tea/2"]),
        ("is:thread", ["tea/3"]),
        ("kettle -is:thread", ["go/4", "go/2", "p_1/2", "tea/2"]),
        ("on:2026-11-25", ["tea/3", "tea/2"]),
        ("kettle on:2026-11-25", ["tea/3", "tea/2"]),
        ("after:2026-11-25 before:2026-11-27", ["go/2", "p_1/2"]),
        ("during:2026-11 -kettle", ["go/3"]),
        ("during:2004", ["go/4"]),
        ("kettle before:2020", ["go/4"]),
        ("kettle during:1999", []),
    ],
)
def test_operators(room: SearchIndex, query: str, expected: list[str]) -> None:
    """Each alone and with words; imported messages count by when they were said."""
    assert found(room, query, user="ada") == expected


def test_dates_mean_days_of_the_zone(room: SearchIndex) -> None:
    """In Auckland it is the next day by then."""
    assert found(room, "kettle on:2026-11-25", zone="Pacific/Auckland") == ["tea/2"]
    assert found(room, "kettle on:2026-11-26", zone="Pacific/Auckland") == ["p_1/2", "tea/3"]


def test_only_what_may_be_read(room: SearchIndex) -> None:
    """Hits, counts, and whether a name means anything: an unreadable channel is as none (AT-46)."""
    for query in ("kettle", "secret", "from:ada", "on:2026-11-26", "-secret in:tea"):
        reply = ask(room, query, readable=["tea", "go"])
        assert "p_1/2" not in places(reply)
        assert reply.count == len(reply.hits)
    for query in ("in:p_1", "in:no-such"):
        reply = ask(room, query, readable=["tea"])
        assert (reply.hits, reply.count, [it.known for it in reply.inside]) == ((), 0, [False])
    inside = ask(room, "in:p_1 in:none", readable=["p_1"]).inside
    assert [(it.offset, it.length, it.known) for it in inside] == [(0, 6, True), (7, 7, False)]
    assert ask(room, "kettle", readable=[]).count == 0


def test_many_channels_are_looked_up_instead(room: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few channels are terms, many a set: both find the same."""
    queries = (
        "kettle",
        "kettle -secret",
        "from:ada",
        "on:2026-11-25",
        "has:reaction",
        "during:2026 -hello",
        "is:thread",
    )
    readers = [["tea", "go"], ["tea", "p_1"], ["p_1", "go"]]
    few = [[found(room, query, readable=reader) for query in queries] for reader in readers]
    monkeypatch.setattr(plan, "CHANNELS_AS_TERMS_MAX", 1)
    assert [[found(room, query, readable=reader) for query in queries] for reader in readers] == few
    assert found(room, "kettle -in:tea") == ["go/4", "go/2", "p_1/2"]


@pytest.mark.parametrize(
    "query", ["during:2026", "has:reaction", "kettle", "from:ada -has:link", "during:2026 -cup"]
)
@pytest.mark.parametrize("terms_max", [0, 200])
def test_the_log_is_walked_back(
    room: SearchIndex, monkeypatch: pytest.MonkeyPatch, query: str, terms_max: int
) -> None:
    """However many channels one may read, hits are met in their order: nobody sorts all that there are."""
    monkeypatch.setattr(plan, "CHANNELS_AS_TERMS_MAX", terms_max)
    with room.reading() as connection:
        numbers = {ChannelId(it): no for it, no in connection.execute("SELECT channel, no FROM channels")}
        asked = plan.plan_of(
            connection, parse(query), ALICE, plan.readable_of(numbers, numbers), numbers, StreamSeq(100)
        )
        sql = f"EXPLAIN QUERY PLAN {asked.sql()}"
        steps = [row[3] for row in connection.execute(sql, asked.values | {"limit": 1})]
    assert steps
    assert not [step for step in steps if "ORDER BY" in step]


def test_nothing_behind_the_position(room: SearchIndex) -> None:
    """What was written after the question began may be the first that a removed member must not see."""
    assert found(room, "kettle", upto=5) == ["p_1/2", "tea/3", "tea/2"]


@pytest.mark.parametrize("query", ["cup", "from:alice", "cup -in:none", "during:2026"])
def test_pages_lose_and_double_nothing(tmp_path: Path, query: str) -> None:
    """Page by page it is the whole, though half of the messages have one time, while more is said."""
    rng = random.Random(5)
    log = Log()
    for number in range(97):
        log.say(rng.choice(["tea", "go", "p_1"]), f"cup {number}")
    at_us = 1_795_564_800_000_000
    same = [replace(it, at_us=at_us + (it.stream_seq > 50)) for it in log.events]
    log.events[:] = same
    index = indexed(tmp_path, log)
    whole = found(index, query)
    paged: list[str] = []
    after = None
    more = True
    while more:
        reply = ask(index, query, limit=10, after=after)
        paged += places(reply)
        more = reply.more
        last = reply.hits[-1]
        after = SearchPlace(channel=last.channel, seq=last.seq, at_ms=last.at_ms)
        log.say("tea", "cup, much later")
        indexed(tmp_path, log).close()
        if len(paged) == 20:
            log.delete(last.channel, last.seq)
            indexed(tmp_path, log).close()
    assert paged == whole
    again = ask(index, query, limit=3, after=after.model_copy(update={"inclusive": True}) if after else None)
    assert places(again) == whole[-1:]
    index.close()


def test_a_place_that_may_not_be_read_is_only_a_time(room: SearchIndex) -> None:
    """A cursor into a channel that one was removed from goes on, and says nothing about the channel."""
    at_ms = 1_795_564_800_000 + 86_400_000
    for channel in ("p_1", "no-such"):
        after = SearchPlace(channel=ChannelId(channel), seq=2, at_ms=at_ms)
        assert found(room, "kettle", readable=["tea", "go"], after=after) == ["tea/3", "tea/2"]


def test_counts_are_capped(tmp_path: Path) -> None:
    """Up to a thousand they are exact."""
    log = Log()
    for number in range(COUNT_MAX):
        log.say("tea", f"cup {number}")
    index = indexed(tmp_path, log)
    asked = [(query, sort) for query in ("cup", "in:tea", "during:2026") for sort in ("newest", "relevant")]
    for query, sort in asked:
        reply = ask(index, query, limit=5, sort=sort)
        assert (reply.count, reply.capped, reply.more, len(reply.hits)) == (COUNT_MAX, False, True, 5)
    log.say("tea", "one more cup")
    indexed(tmp_path, log).close()
    for query, sort in asked:
        reply = ask(index, query, limit=5, sort=sort)
        assert (reply.count, reply.capped) == (COUNT_MAX, True)
    index.close()


def test_what_is_written_in_a_message(room: SearchIndex) -> None:
    """Author, times and thread, and which event its text is from."""
    found_ = Finder(room, 60.0).written(
        WORKSPACE, [(ChannelId("go"), 4), (ChannelId("tea"), 3), (ChannelId("x"), 1)]
    )
    assert set(found_) == {("go", 4), ("tea", 3)}
    assert found_["go", 4].happened_ms == 1_100_520_000_000
    assert (found_["tea", 3].author, found_["tea", 3].thread, found_["tea", 3].text_seq) == ("bob", 2, 3)
