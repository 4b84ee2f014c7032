"""The index follows the log: from memory, from Parquet, after damage, after a log that lost its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from archiver.search import backlog, feed
from archiver.search.index import SearchIndex
from shared.errors import Unavailable
from shared.events import UserErased, encode
from shared.ids import Epoch, Partition, StreamSeq, UserId
from shared.subjects import channel_subject
from tests.support.archive import posted
from tests.support.kept import GO, TEA, Kept
from tests.support.search import ask, found
from tests.support.traces import traces
from tests.support.waiting import eventually


async def test_hot_and_cold_are_found(tmp_path: Path) -> None:
    """What is in Parquet only, what is hot, and what comes later, each once."""
    kept = Kept(tmp_path)
    kept.say("cup one", "cup two")
    kept.commit()
    kept.say("cup three")
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
        assert found(index, "cup") == ["tea/3", "go/2", "tea/2"]
        kept.say("cup four")
        kept.commit()
        kept.say("cup five")
        await feeding.reaches(kept.applied)
        assert len(found(index, "cup")) == 5
    kept.archive.close()


async def test_a_deleted_index_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the segments, in batches, also when compaction has made them too large to sort in memory."""
    monkeypatch.setattr(feed, "BATCH", 7)
    kept = Kept(tmp_path)
    for number in range(4):
        kept.say(*(f"cup {number}-{n} #x{n}" for n in range(20)))
        kept.commit()
    for rows_at_once in (backlog.ROWS_AT_ONCE_MAX, 1):
        monkeypatch.setattr(backlog, "ROWS_AT_ONCE_MAX", rows_at_once)
        kept.path.unlink(missing_ok=True)
        async with kept.fed() as (feeding, index):
            await feeding.reaches(kept.applied)
            assert len(found(index, "cup")) == 80
            assert found(index, "2-7") == ["go/25"]
    kept.archive.close()


async def test_an_index_of_another_epoch_is_rebuilt(tmp_path: Path) -> None:
    """It says nothing about this log."""
    kept = Kept(tmp_path)
    kept.say("cup")
    kept.commit()
    other = SearchIndex(kept.path, Epoch("other"))
    other.close()
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
        assert found(index, "cup") == ["tea/2"]
    kept.archive.close()


async def test_damage_is_repaired_while_it_runs(tmp_path: Path) -> None:
    """A batch that meets a damaged file makes the index begin anew."""
    kept = Kept(tmp_path)
    kept.say(*("cup of something" for _ in range(200)))
    kept.commit()
    async with kept.fed() as (feeding, _):
        await feeding.reaches(kept.applied)
    content = bytearray(kept.path.read_bytes())
    content[4096 * 2 :] = b"\x55" * (len(content) - 4096 * 2)
    kept.path.write_bytes(content)
    kept.say("cup at last")
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
        assert ask(index, "cup").count == 201
    kept.archive.close()


@pytest.mark.parametrize("is_shorter", [True, False])
async def test_a_log_that_lost_its_end(tmp_path: Path, is_shorter: bool) -> None:
    """The index has seen what neither log nor Parquet has any more: it begins anew."""
    kept = Kept(tmp_path)
    kept.say("cup one", "cup two")
    kept.commit()
    kept.say("lost forever")
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
        assert found(index, "lost") == ["tea/3"]
    kept.archive.close()
    again = Kept(tmp_path)
    if not is_shorter:
        again.say("cup three", at_us=1_800_000_000_000_000)
    async with again.fed(wait_s=1.0) as (feeding, index):

        async def answered() -> bool:
            with contextlib.suppress(Unavailable):
                await feeding.reaches(again.applied)
                return True
            return False

        await eventually(answered)
        assert found(index, "lost") == []
        assert len(found(index, "cup")) == 2 + (not is_shorter)
    again.archive.close()


async def test_a_log_that_kept_its_end(tmp_path: Path) -> None:
    """After a crash before the commit the index is ahead of Parquet, and right: nothing is done twice."""
    kept = Kept(tmp_path)
    kept.say("cup one")
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
    kept.archive.close()
    again = Kept(tmp_path)
    async with again.fed() as (feeding, index):
        assert index.at().stream_seq == 2
        again.say("cup one")
        await feeding.reaches(again.applied)
        assert found(index, "cup") == ["tea/2"]
    again.archive.close()


async def test_two_archivers_share_an_index(tmp_path: Path) -> None:
    """Both feed it, neither doubles nor misses anything."""
    kept = Kept(tmp_path)
    async with kept.fed() as (one, index), kept.fed() as (other, _):
        for number in range(10):
            kept.say(f"cup {number}", f"mug {number}")
            for feeding in (one, other):
                kept.archive.taken = feeding._more.set
                kept.archive.taken()
        await one.reaches(kept.applied)
        await other.reaches(kept.applied)
        assert len(found(index, "cup")) == len(found(index, "mug")) == 10
    kept.archive.close()


async def test_who_waits_too_long_is_told_how_far_it_is(tmp_path: Path) -> None:
    """In percent: positions of the stream are nobody's business."""
    kept = Kept(tmp_path)
    kept.say("cup")
    async with kept.fed(wait_s=0.3) as (feeding, _):
        await feeding.reaches(kept.applied)
        with pytest.raises(Unavailable, match="brought up to date: 50 %"):
            await feeding.reaches(StreamSeq(2 * kept.applied))
    kept.archive.close()


async def test_segments_that_are_replaced_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half read, a file is gone: it goes on behind what it has, with the files that are there now."""
    monkeypatch.setattr(feed, "BATCH", 3)
    kept = Kept(tmp_path)
    kept.say(*(f"cup {number}" for number in range(12)))
    kept.commit()
    gone = 0

    def replaced(*arguments: object) -> Iterator[object]:
        nonlocal gone
        batches = backlog.backlog(*arguments)  # type: ignore[arg-type]
        yield next(batches)
        if gone < 3:
            gone += 1
            raise FileNotFoundError("compacted")
        yield from batches

    monkeypatch.setattr(feed, "backlog", replaced)
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
        assert (ask(index, "cup").count, gone) == (12, 3)
    kept.archive.close()


async def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again until it works; nothing is lost meanwhile."""
    kept = Kept(tmp_path)
    refusals = 0
    record = SearchIndex.record

    def refusing(self: SearchIndex, *arguments: object) -> bool:
        nonlocal refusals
        refusals += 1
        if refusals < 4:
            raise OSError("no space left")
        return record(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SearchIndex, "record", refusing)
    kept.say("cup")
    async with kept.fed() as (feeding, index):
        await eventually(lambda: feeding.position == kept.applied)
        assert (found(index, "cup"), refusals) == (["tea/2"], 4)
    kept.archive.close()


async def test_what_is_erased_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory and from Parquet, soon after the event; many together are one rewriting of the file."""
    monkeypatch.setattr(feed, "PURGE_REST_S", 0.05)
    kept = Kept(tmp_path)
    purges: list[float] = []
    async with kept.fed() as (feeding, index):
        purge = index.purge
        monkeypatch.setattr(index, "purge", lambda: (purges.append(1.0), purge()))
        kept.say(*(f"Xsecret{number}" for number in range(40)))
        kept.commit()
        await feeding.reaches(kept.applied)
        assert traces(kept.path.parent, ["xsecret"]) != []
        for key in (TEA, GO):
            kept.take(channel_subject(Partition(0), key), encode(erasing("alice")), 1)
        kept.say("still here")
        await feeding.reaches(kept.applied)
        assert found(index, "from:alice") == ["tea/23"]
        await eventually(lambda: traces(kept.path.parent, ["xsecret"]) == [], within_s=60)
        assert 1 <= len(purges) <= 3
    kept.archive.close()


async def test_what_could_not_be_rewritten_is_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stopped between the erasure and the rewriting."""
    kept = Kept(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(SearchIndex, "purge", lambda _: None)
        async with kept.fed() as (feeding, _):
            kept.say("Xsecret")
            await feeding.reaches(kept.applied)
            kept.take(channel_subject(Partition(0), TEA), encode(erasing("alice")), 1)
            await feeding.reaches(kept.applied)
    assert traces(kept.path.parent, ["xsecret"]) != []
    async with kept.fed():
        await eventually(lambda: traces(kept.path.parent, ["xsecret"]) == [], within_s=60)
    kept.archive.close()


def erasing(user: str) -> UserErased:
    """All that somebody has said is erased."""
    return UserErased(id=posted("").id, author=UserId("operator"), user=UserId(user))


async def test_it_is_made_anew_when_somebody_wants_it(tmp_path: Path) -> None:
    """Once for a run, however often that is asked about; what was wrong with it is right then."""
    kept = Kept(tmp_path)
    kept.say("cup one", "cup two")
    kept.commit()
    kept.say("cup three")
    async with kept.fed() as (feeding, index):
        await feeding.reaches(kept.applied)
        for run in ("first", "second"):
            generation = index.generation
            with contextlib.closing(apsw.Connection(str(kept.path))) as other:
                other.execute("DELETE FROM docs")
            assert found(index, "cup") == []
            assert feeding.rebuild(run) == 0
            await eventually(lambda run=run: feeding.rebuild(run) == kept.applied)
            assert index.generation == generation + 1
            assert found(index, "cup") == ["tea/3", "go/2", "tea/2"]
        await feeding.reaches(kept.applied)
        assert index.generation == generation + 1
    kept.archive.close()


async def test_a_rebuild_begins_again_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants another one does not wait for the one that is under way."""
    monkeypatch.setattr(feed, "BATCH", 1)
    kept = Kept(tmp_path)
    kept.say(*(f"cup {number}" for number in range(200)))
    kept.commit()
    async with kept.fed() as (feeding, index):
        await eventually(lambda: feeding.position > 0, every_s=0.001)
        generation = index.generation
        feeding.rebuild("another")
        await eventually(lambda: index.generation == generation + 1)
        await feeding.reaches(kept.applied)
        assert ask(index, "cup").count == 200
    kept.archive.close()
