"""Archives written by hand, for SQL: any events of any channels, folded as the archiver folds them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from archiver.core.hot import Hot
from archiver.parquet import write_empty_segment
from archiver.partition import PartitionArchive
from shared.archive_files import ARCHIVE_SQL, archive_sql
from shared.archive_store import LocalStore
from shared.events import KnownEvent, encode
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq

Said = Iterable[tuple[ChannelKey, KnownEvent | bytes, int]]
"""A channel, what is put into its log, and when: microseconds since 1970."""


def write_archive(directory: Path, said: Said, *, segments_of: int = 100) -> None:
    """An archive of one partition that holds these events, in that order."""
    store = LocalStore(directory)
    store.make()
    write_empty_segment(store)
    store.replace(ARCHIVE_SQL, archive_sql(store).encode())
    archive = PartitionArchive(store, directory / "cache", Partition(0), Epoch("e1"))
    archive.open()
    for key, event, at_us in said:
        hot = archive.hot
        _load(archive, hot, key)
        body = event if isinstance(event, bytes) else encode(event)
        hot.add(key, StreamSeq(hot.applied + 1), at_us, body)
        if len(hot) >= segments_of:
            _commit(archive)
    if len(archive.hot):
        _commit(archive)
    archive.close()


def _load(archive: PartitionArchive, hot: Hot, key: ChannelKey) -> None:
    for missing, head in archive.cache.heads(hot.missing([key])).items():
        hot.load(missing, head)


def _commit(archive: PartitionArchive) -> None:
    batch = archive.hot.cut()
    archive.committed(batch, archive.write(batch))
