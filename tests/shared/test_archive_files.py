"""Anyone can open an archive: through the library, and with plain DuckDB on the folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from shared.archive_files import ARCHIVE_SQL, archive_sql, newest_manifest, open_archive, pin, scan
from shared.archive_manifest import manifest_name
from shared.archive_store import LocalStore
from shared.bus import Bus
from shared.errors import Unavailable
from shared.events import encode
from shared.settings import CommonSettings
from tests.support.archive import archiver_settings, created, key_of, posted, running, store, taken

COLUMNS = {
    "workspace": "VARCHAR",
    "channel": "VARCHAR",
    "seq": "BIGINT",
    "kind": "VARCHAR",
    "author": "VARCHAR",
    "ts": "TIMESTAMP",
    "text": "VARCHAR",
    "ref": "BIGINT",
    "thread": "BIGINT",
    "id": "UUID",
    "void": "VARCHAR",
    "extras": "VARCHAR",
    "stream_seq": "BIGINT",
}


async def archive(bus: Bus, settings: CommonSettings, directory: Path, messages: int) -> None:
    """An archive of two channels in two partitions, three segments or more."""
    async with running(bus, archiver_settings(settings, directory, flush_events=4)):
        for name in ("tea", "rust", "go", "zig"):
            texts = [encode(posted(f"{name} {number} \x00☕")) for number in range(messages)]
            await store(bus, key_of(name), [encode(created()), *texts] if messages else [])
        await taken(bus)


def columns(db: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Names and types of the view."""
    return {name: kind for name, kind, *_ in db.sql("DESCRIBE events").fetchall()}


async def test_plain_duckdb_shows_the_events(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """`archive.sql` gives plain DuckDB the view, also in a folder that was moved, also with a quote in it."""
    directory = tmp_path / "it's an archive"
    await archive(fresh_bus, fresh_settings, directory, messages=5)
    moved = tmp_path / "moved"
    script = (directory / ARCHIVE_SQL).read_text()
    with duckdb.connect() as db:
        db.execute(script)
        assert columns(db) == COLUMNS
        assert db.sql("SELECT count(*), count(DISTINCT id) FROM events").fetchall() == [(24, 24)]
        assert db.sql("SELECT text FROM events WHERE channel = 'tea' AND seq = 2").fetchall() == [
            ("tea 0 \x00☕",)
        ]
    shutil.move(directory, moved)
    with duckdb.connect() as db:
        db.execute(f"SET VARIABLE archive = '{moved}'")
        db.execute(script)
        assert db.sql("SELECT count(*) FROM events").fetchall() == [(24,)]


async def test_an_empty_archive_can_be_queried(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Before the first event the view is there with its columns and no rows."""
    await archive(fresh_bus, fresh_settings, tmp_path / "archive", messages=0)
    with duckdb.connect() as db:
        db.execute((tmp_path / "archive" / ARCHIVE_SQL).read_text())
        assert db.sql("SELECT count(*) FROM events").fetchall() == [(0,)]
        assert columns(db) == COLUMNS
    with open_archive(pin(tmp_path / "archive")) as db:
        assert columns(db) == COLUMNS


async def test_scan_is_ordered_and_filtered(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Rows come channel by channel, each from 1 on; one channel can be asked for alone."""
    directory = tmp_path / "archive"
    await archive(fresh_bus, fresh_settings, directory, messages=5)
    rows = [(row.channel, row.seq) for row in scan(directory)]
    assert rows == [(name, seq) for name in ("go", "rust", "tea", "zig") for seq in range(1, 7)]
    assert {row.channel for row in scan(directory, workspace="acme", channel="go")} == {"go"}
    assert list(scan(directory, workspace="else")) == []


async def test_a_pinned_archive_does_not_move(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What was pinned stays the same while more is archived."""
    directory = tmp_path / "archive"
    await archive(fresh_bus, fresh_settings, directory, messages=3)
    pinned = pin(directory)
    await archive(fresh_bus, fresh_settings, directory, messages=3)
    with open_archive(pinned) as db:
        assert db.sql("SELECT count(*) FROM events").fetchall() == [(16,)]
    with open_archive(pin(directory)) as db:
        assert db.sql("SELECT count(*) FROM events").fetchall() == [(32,)]


def test_no_archive_is_said(tmp_path: Path) -> None:
    """A directory without an archive is an operating error with a sentence, not an empty result."""
    with pytest.raises(Unavailable, match="no archive"):
        pin(tmp_path)
    assert newest_manifest(tmp_path) is None
    assert "''" in archive_sql(LocalStore(tmp_path / "a'b"))


def test_versions_that_vanish_are_looked_up_again(tmp_path: Path) -> None:
    """A name without a file behind it ends in an error after some tries, not in an endless loop."""
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / manifest_name(1)).symlink_to(tmp_path / "gone")
    with pytest.raises(Unavailable, match="change faster"):
        newest_manifest(tmp_path)
