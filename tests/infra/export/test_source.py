"""What an export reads is the archive at one moment, by channel and number, and nothing of it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.export.selection import Selection
from infra.export.source import ExportIncomplete, check, opened
from shared import events as e
from shared.archive_store import open_store
from shared.errors import NotFound, Unavailable
from shared.ids import ChannelId, Seq, UserId, channel_id, user_id
from tests.support.archived import WORKSPACE, archive_of, recorded
from tests.support.events import example
from tests.support.seaweed import Seaweed, new_archive

CREATED = example(e.ChannelCreated, author="ada")


def selected(*channels: str) -> Selection:
    return Selection(WORKSPACE, tuple(map(channel_id, channels)))


def numbers(archive: str, selection: Selection, directory: Path) -> list[tuple[str, int]]:
    with opened(archive, selection, directory) as source:
        rows = [row for rows in source.rows() for row in rows]
        assert source.counts() == {c: [row.channel for row in rows].count(c) for c in source.counts()}
        assert sum(batch.num_rows for batch in source.batches()) == len(rows)
    return [(row.channel, row.seq) for row in rows]


def test_by_channel_and_number(tmp_path: Path) -> None:
    """Events that share their time, in segments of any cut, come once each, in order (AT-52)."""
    rows = recorded("tea", [CREATED, *[example(e.MessagePosted, author="ada")] * 9_999])
    milk = recorded("milk", [CREATED])
    archive = archive_of(tmp_path / "a", rows[7:5_000], rows[:7], [*rows[5_000:], *milk])
    assert numbers(archive, selected("tea"), tmp_path) == [("tea", n) for n in range(1, 10_001)]
    assert numbers(archive, selected("tea", "milk"), tmp_path)[:2] == [("milk", 1), ("tea", 1)]
    assert len(numbers(archive, Selection(WORKSPACE), tmp_path)) == 10_001
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("numbers_there", [[1, 3], [2, 3], [1, 2, 2]])
def test_a_channel_with_holes_is_refused(tmp_path: Path, numbers_there: list[int]) -> None:
    """Missing at the front, in the middle, or doubled: said, not exported."""
    rows = recorded("tea", [CREATED, *[example(e.MessagePosted, author="ada")] * 2])
    archive = archive_of(tmp_path / "a", [rows[number - 1] for number in numbers_there])
    with opened(archive, selected("tea"), tmp_path) as source, pytest.raises(ExportIncomplete, match="tea"):
        source.counts()
    with opened(archive, Selection(WORKSPACE, user=user_id("ada")), tmp_path) as source:
        assert sum(source.counts().values()) == len(numbers_there)


def test_what_the_log_knows_more(tmp_path: Path) -> None:
    """A head above the archive's, a channel that the archive lacks, one that nobody knows."""
    heads = {ChannelId("tea"): Seq(3)}
    check(selected("tea"), {ChannelId("tea"): 3}, heads)
    check(selected("tea"), {ChannelId("tea"): 4}, heads)
    with pytest.raises(ExportIncomplete, match="2 of 3"):
        check(selected("tea"), {ChannelId("tea"): 2}, heads)
    with pytest.raises(ExportIncomplete, match="0 of 3"):
        check(Selection(WORKSPACE), {}, heads)
    with pytest.raises(NotFound, match="milk"):
        check(selected("milk"), {}, {})
    with pytest.raises(Unavailable), opened(str(tmp_path / "none"), selected("tea"), tmp_path):
        pass


@pytest.mark.faults
def test_out_of_a_bucket(bucket_server: Seaweed, tmp_path: Path) -> None:
    """An archive in an object store is exported like one in a directory."""
    store = open_store(new_archive(), bucket_server.environ)
    rows = recorded("tea", [CREATED, *[example(e.MessagePosted, author="ada")] * 999])
    archive_of(store, rows[:500], rows[500:])
    with opened(store, selected("tea"), tmp_path) as source:
        assert source.counts() == {"tea": 1_000}
        assert [row for found in source.rows() for row in found] == rows


def test_a_users_part(tmp_path: Path) -> None:
    """What the user did, his memberships by whomever, what others did to his messages; nothing else."""
    tea = [
        CREATED,
        example(e.MemberInvited, author="ada", user="bob"),
        example(e.MessagePosted, author="bob", text="mine"),
        example(e.MessagePosted, author="ada", text="about bob"),
        example(e.MessageDeleted, author="ada", ref=3, ref_author="bob"),
        example(e.MemberRoleChanged, author="ada", user="bob", role="admin"),
        example(e.ReactionAdded, author="ada", ref=3),
        example(e.MemberRemoved, author="ada", user="bob"),
        example(e.MessagePosted, author="bob", text="void"),
        b'{"v": 1, "kind": "member.invited", "id": "%s", "author": "ada", "user": "bob"}'
        % CREATED.id.encode(),
    ]
    direct = [example(e.ChannelCreated, author="ada", channel_kind="direct", members=("ada", "bob"))]
    other = [CREATED, example(e.MessagePosted, author="ada")]
    archive = archive_of(
        tmp_path / "a", recorded("tea", tea), recorded("d_1", direct), recorded("milk", other)
    )
    mine = numbers(archive, Selection(WORKSPACE, user=UserId("bob")), tmp_path)
    assert mine == [("d_1", 1), *[("tea", n) for n in (2, 3, 5, 6, 8, 9, 10)]]
