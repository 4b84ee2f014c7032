"""A Slack export is a zip that the import reads again, all of it; the same events are the same bytes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from infra.export.selection import Selection
from infra.export.slack_zip import FILE_BYTES_MAX, write_zip
from infra.export.source import opened
from infra.slack.convert import convert
from infra.slack.export import Export
from infra.slack.package import LIMITS
from infra.slack.tally import Tally
from shared import events as e
from shared.archive_rows import Row
from shared.clock import now_us
from tests.support.archived import WORKSPACE, archive_of, recorded
from tests.support.events import example


def logs() -> list[list[Row]]:
    tea: list[e.KnownEvent | bytes] = [
        example(e.ChannelCreated, author="ada", name="tea"),
        example(e.MemberJoined, author="bob"),
        *(example(e.MessagePosted, author="bob", text=f"text {n}") for n in range(50)),
        example(e.MessagePosted, author="ada", text="reply", thread=5),
        example(e.MessageDeleted, author="bob", ref=6, ref_author="bob"),
        example(e.ReactionAdded, author="eva", ref=7, imported={"by": "x", "at": "2016-01-15T05:55:18.250Z"}),
        example(e.PinAdded, author="ada", ref=8),
    ]
    evil: list[e.KnownEvent | bytes] = [
        example(e.ChannelCreated, author="ada", channel_kind="private", name="../../evil"),
        example(e.MessagePosted, author="ada", text="kept"),
    ]
    direct: list[e.KnownEvent | bytes] = [
        example(e.ChannelCreated, author="ada", channel_kind="direct", name="", members=("ada", "bob")),
        example(e.MessagePosted, author="ada", text="hush"),
    ]
    empty: list[e.KnownEvent | bytes] = [example(e.ChannelCreated, author="ada", name="tea")]
    return [recorded(*pair) for pair in (("C1", tea), ("p_1", evil), ("d_1", direct), ("C9", empty))]


def written(archive: str, path: Path, file_bytes_max: int = FILE_BYTES_MAX) -> bytes:
    with opened(archive, Selection(WORKSPACE), path.parent) as source:
        assert write_zip(source, path, lambda _: None, file_bytes_max) == 54
    return path.read_bytes()


def test_it_is_read_again(tmp_path: Path) -> None:
    """Every record is imported, nothing is altered but what has no file."""
    written(archive_of(tmp_path / "a", *logs()), tmp_path / "x.zip")
    tally = Tally()
    with Export(tmp_path / "x.zip", tally) as export:
        found = {
            c.identity: convert(c, records, "w", tally, now_us()) for c, records in export.conversations()
        }
    tally.recorded = sum(order.counts for conversion in found.values() for order in conversion.orders)
    assert (tally, tally.balanced) == (Tally(records=54, recorded=54), True)
    assert {id_: conversion.create.fields["kind"] for id_, conversion in found.items()} == {
        "d_1": "direct",
        "p_1": "private",
        "C1": "public",
        "C9": "public",
    }
    kinds = [order.kind for order in found["C1"].orders]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "join": 1,
        "send": 51,
        "delete": 1,
        "react": 1,
        "pin": 1,
    }
    assert [order.fields.get("text") for order in found["p_1"].orders] == ["kept"]
    assert found["p_1"].create.fields["name"] == "../../evil"


def test_what_is_in_it(tmp_path: Path) -> None:
    """A file per folder and day, then the lists; every user who is named anywhere."""
    written(archive_of(tmp_path / "a", *logs()), tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as found:
        names = found.namelist()
        users = json.loads(found.read("users.json"))
        assert json.loads(found.read("mpims.json")) == []
    days = ["tea/2026-09-21.json", "d_1/2026-09-21.json", "p_1/2026-09-21.json"]
    assert names == [*days, "C9/", "channels.json", "groups.json", "dms.json", "mpims.json", "users.json"]
    assert [user["id"] for user in users] == ["ada", "bob", "eva"]


def test_same_events_same_bytes(tmp_path: Path) -> None:
    """However the archive's files are cut, and whenever it is written."""
    rows = [row for log in logs() for row in log]
    one = written(archive_of(tmp_path / "a", rows), tmp_path / "x.zip")
    other = written(archive_of(tmp_path / "b", rows[::2], rows[1::2]), tmp_path / "y.zip")
    assert one == other


def test_a_day_that_is_too_large_goes_on(tmp_path: Path) -> None:
    """In more files, each within what an import reads of one; together they are the day."""
    written(archive_of(tmp_path / "a", *logs()), tmp_path / "x.zip", file_bytes_max=1_000)
    with zipfile.ZipFile(tmp_path / "x.zip") as found:
        parts = [name for name in found.namelist() if name.startswith("tea/")]
        assert all(found.getinfo(name).file_size < 1_500 for name in parts)
        records = [record for name in sorted(parts) for record in json.loads(found.read(name))]
    assert parts[:2] == ["tea/2026-09-21.json", "tea/2026-09-21-0002.json"]
    assert len(records) == 52
    tally = Tally()
    with Export(tmp_path / "x.zip", tally) as export:
        assert sum(len(records) for _, records in export.conversations()) == 54
    assert LIMITS.file_bytes > FILE_BYTES_MAX
