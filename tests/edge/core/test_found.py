"""Merging what partitions found, and cursors: nothing lost, nothing doubled, whatever the times are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.found import Asked, Cursor, best, count, cursor_of, newest
from shared.errors import BadRequest
from shared.ids import ChannelId, Partition, Seq
from shared.search import SearchHit, SearchPlace, SearchReply

ASKED = Asked("tea", "UTC", "newest")
Hits = list[SearchHit]


def hits(partition: int, times: list[int]) -> Hits:
    """What a partition has, newest first."""
    channel = ChannelId(f"c{partition}")
    return [
        SearchHit(channel=channel, seq=Seq(len(times) - number), at_ms=at_ms)
        for number, at_ms in enumerate(times)
    ]


def replies(
    all_: dict[Partition, Hits], limit: int, places: dict[Partition, SearchPlace]
) -> dict[Partition, SearchReply]:
    """What the partitions answer, as the archiver does."""
    found = {}
    for partition, have in all_.items():
        place = places.get(partition)
        start = 0
        if place is not None:
            at = next(number for number, hit in enumerate(have) if hit.seq == place.seq)
            start = at if place.inclusive else at + 1
        part = tuple(have[start : start + limit])
        found[partition] = SearchReply(hits=part, more=len(have) > start + limit, count=len(have))
    return found


PARTITIONS = st.lists(st.lists(st.integers(0, 4), max_size=12), min_size=1, max_size=4)


@given(PARTITIONS, st.integers(1, 7), st.booleans())
def test_pages_are_the_whole_once(times: list[list[int]], limit: int, is_monotonous: bool) -> None:
    """Also with equal times, with times that go back, and while newer hits appear everywhere."""
    all_ = {
        Partition(number): hits(number, sorted(those, reverse=True) if is_monotonous else those)
        for number, those in enumerate(times)
    }
    whole = {hit for have in all_.values() for hit in have}
    shown: Hits = []
    cursor: Cursor | None = None
    while True:
        asked_of = all_ if cursor is None else {p: all_[p] for p in cursor.places}
        merged = newest(ASKED, replies(asked_of, limit, cursor.places if cursor else {}), limit)
        assert len(merged.hits) <= limit
        shown += [hit for _, hit in merged.hits]
        if merged.next is None:
            break
        assert merged.hits, "a page with a next one shows something"
        cursor = cursor_of(merged.next.text(), ASKED)
        for partition, have in all_.items():
            newer = SearchHit(channel=ChannelId(f"c{partition}"), seq=Seq(1000 + len(have)), at_ms=9)
            have.insert(0, newer)
    assert len(shown) == len(set(shown))
    assert set(shown) == whole
    if is_monotonous:
        assert [hit.at_ms for hit in shown] == sorted((hit.at_ms for hit in shown), reverse=True)


def test_the_best_come_first() -> None:
    """By score, then by time, page by page, up to a bound."""
    one = [
        SearchHit(channel=ChannelId("a"), seq=Seq(n), at_ms=n, score=score)
        for n, score in ((1, 9.0), (2, 5.0))
    ]
    other = [
        SearchHit(channel=ChannelId("b"), seq=Seq(n), at_ms=n, score=score)
        for n, score in ((7, 7.0), (8, 5.0))
    ]
    found = {
        Partition(0): SearchReply(hits=tuple(one), more=True, count=2),
        Partition(1): SearchReply(hits=tuple(other), more=False, count=2),
    }
    asked = Asked("tea", "UTC", "relevant")
    first = best(asked, found, 2, 0, 4)
    assert [hit.score for _, hit in first.hits] == [9.0, 7.0]
    assert first.next is not None
    second = best(asked, found, 2, cursor_of(first.next.text(), asked).skip, 4)
    assert [hit.seq for _, hit in second.hits] == [8, 2]
    assert second.next is None


def test_counts_are_capped() -> None:
    """Each partition's, and their sum."""
    some = SearchReply(hits=(), more=False, count=600)
    assert count([some], 1000) == (600, False)
    assert count([some, some], 1000) == (1000, True)
    assert count([some.model_copy(update={"capped": True})], 1000) == (600, True)


@pytest.mark.parametrize("text", ["x", "é", "", "e30", "=" * 9, "A" * 20_000, "bm9uZQ"])
def test_what_is_no_cursor(text: str) -> None:
    """It is refused, not guessed at."""
    with pytest.raises(BadRequest, match="cursor"):
        cursor_of(text, ASKED)


def test_a_cursor_is_bound_to_its_question() -> None:
    """Another query, order or time zone is another list."""
    text = Cursor(asked=ASKED.fingerprint, skip=3).text()
    assert cursor_of(text, ASKED).skip == 3
    for other in (
        Asked("te", "aUTC", "newest"),
        ASKED._replace(zone="Europe/Berlin"),
        ASKED._replace(sort="relevant"),
    ):
        with pytest.raises(BadRequest, match="another question"):
            cursor_of(text, other)


def test_a_cursor_names_no_stream_position() -> None:
    """Only channels, numbers in them, and times that the hits have."""
    place = SearchPlace(channel=ChannelId("tea"), seq=Seq(4), at_ms=5, inclusive=True)
    cursor = Cursor(asked="x", places={Partition(2): place})
    assert set(cursor.model_dump()["places"][2]) == {"channel", "seq", "at_ms", "inclusive"}
    assert len(cursor.text()) < 120
