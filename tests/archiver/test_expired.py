"""What has expired is out of pages and files, and out of the log as soon as it may be there."""

from __future__ import annotations

import random
from pathlib import Path

from archiver.core.segment import rows_of
from archiver.parquet import open_segment
from shared.retention import DAY_US
from tests.support.archive import created, key_of, posted
from tests.support.archived_messages import Archived
from tests.support.expiring import edited, expiry, kept

TEA = key_of("tea")


async def test_the_log_is_trimmed_early_only_for_what_it_may_hold(tmp_path: Path) -> None:
    """Texts that are older than the cut went long ago; an import or a late edit may be there still."""
    base_us = 1_790_000_000_000_000  # when `Archived` begins
    archived = Archived(tmp_path)
    try:
        archived.add(TEA, [created(), kept(1), posted("one")])
        await archived.commit()
        archived.add(TEA, [expiry(1, 4, base_us + 1_000)])
        assert archived.archive.erased_us == base_us + 1_000
        await archived.commit()
        await archived.erase()
        assert archived.archive.erased_us == base_us + 1_000
        archived.add(TEA, [posted("two")])
        await archived.commit()
        archived.add(TEA, [expiry(4, 6, base_us - DAY_US)])
        assert archived.archive.erased_us == base_us + 1_000
        archived.add(TEA, [posted("three"), expiry(6, 8, base_us - DAY_US)])
        await archived.commit()
        await archived.erase()
        assert archived.archive.erased_us == base_us + 1_000
        archived.archive.close()
        archived.open()
        assert archived.archive.erased_us == base_us + 1_000
    finally:
        archived.close()


async def test_an_imported_text_is_in_the_log_longer(tmp_path: Path) -> None:
    """Whether it is hot when it expires, or in Parquet; a restart does not forget it."""
    base_us = 1_790_000_000_000_000
    for is_hot in (True, False):
        archived = Archived(tmp_path / str(is_hot))
        try:
            archived.add(TEA, [created(), kept(1), posted("young in the log")])
            if not is_hot:
                await archived.commit()
            archived.add(TEA, [expiry(1, 4, base_us - DAY_US)])
            await archived.commit()
            await archived.erase()
            assert archived.archive.erased_us == base_us + 3
            archived.archive.close()
            archived.open()
            assert archived.archive.erased_us == base_us + 3
        finally:
            archived.close()


async def test_what_has_expired_is_found_no_more_anywhere(tmp_path: Path) -> None:
    """In pages, hot or archived, and whoever asks for it again by its id hears that it is there."""
    rng = random.Random(7)
    archived = Archived(tmp_path)
    try:
        archived.add(TEA, [created(), kept(1)])
        for _ in range(60):
            archived.add(TEA, [posted(f"text {rng.random()}")])
            if rng.random() < 0.2:
                await archived.commit()
        archived.add(TEA, [edited(40, "edited 40"), edited(10, "edited 10"), expiry(1, 33, 0)])
        for step in (archived.commit, archived.erase, archived.merge):
            page = await archived.page(TEA, limit=200)
            assert [message.text is None for message in page.messages] == [
                message.seq < 33 for message in page.messages
            ]
            assert next(message.text for message in page.messages if message.seq == 40) == "edited 40"
            await step()
        stored = {
            row.seq: row.text
            for segment in archived.archive.manifest.segments
            for row in rows_of(open_segment(archived.archive.files, segment).read())
        }
        assert {seq for seq, text in stored.items() if text} == {*range(33, 63), 63}
    finally:
        archived.close()
