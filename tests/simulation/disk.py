"""A disk under the real archiver: what processes see, and what a power failure leaves of it.

A name or bytes that nobody has synced may be there afterwards or not; the choice is the seed's. Before each
change something can happen: the process dies, the disk refuses, somebody else goes on. Parquet and SQLite are
stood in for: what is tried is the order of what the archiver does, not what their files look like.
"""

from __future__ import annotations

import marshal
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from archiver.core.compaction import Run as MergedRun
from archiver.core.hot import ChannelEvents, Head
from archiver.core.segment import SegmentRange, data_name, row_key
from archiver.parquet import write_segment
from shared.archive_manifest import Segment
from shared.archive_rows import Row
from shared.archive_store import LocalStore, Store
from shared.ids import ChannelKey, CommandId, Seq, StreamSeq, UserId
from shared.records import KnownId, known_of
from tests.simulation.turns import Current

CHANGES = ("bytes", "a sync", "the segment's name", "the manifest", "the cache", "a removal")
"""What is written, in an archiver's words."""

PART_ROWS = 12
"""Of a merged run in one file."""


class Died(BaseException):
    """The process ends here."""


@dataclass(slots=True, eq=False)
class Content:
    """The bytes of a file, and those of them that are on the platters."""

    made_s: float
    seen: bytes = b""
    synced: bytes = b""


Run = tuple[ChannelKey, Seq, Seq, StreamSeq, StreamSeq]


@dataclass(slots=True)
class Book:
    """What the archiver's cache keeps in SQLite."""

    position: StreamSeq = StreamSeq(0)  # noqa: RUF009 - a number
    heads: dict[ChannelKey, Head] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    ids: dict[tuple[ChannelKey, UserId, CommandId], KnownId] = field(default_factory=dict)

    def with_events(self, hi: StreamSeq, channels: Iterable[ChannelEvents]) -> Book:
        """The next state."""
        book = Book(hi, dict(self.heads), list(self.runs), dict(self.ids))
        for key, head, events in channels:
            book.heads[key] = head
            low, high = events[0].recorded, events[-1].recorded
            book.runs.append((key, low.seq, high.seq, low.stream_seq, high.stream_seq))
            for hot in events:
                event = hot.recorded.event
                if event.kind != "unreadable":
                    book.ids.setdefault((key, event.author, event.id), known_of(hot.recorded))
        return book

    def with_joined_runs(self, lo: StreamSeq, hi: StreamSeq) -> Book:
        """The same, with one run of each channel in that range."""
        kept = [run for run in self.runs if not lo <= run[3] <= run[4] <= hi]
        inside: dict[ChannelKey, list[Run]] = {}
        for run in self.runs:
            if lo <= run[3] <= run[4] <= hi:
                inside.setdefault(run[0], []).append(run)
        joined = [
            (key, *(pick(run[place] for run in runs) for place, pick in enumerate((min, max, min, max), 1)))
            for key, runs in inside.items()
        ]
        return Book(self.position, self.heads, kept + cast(list[Run], joined), self.ids)


@dataclass(slots=True)
class Disk:
    """Names and contents; `interrupt` says what happens before which of the next changes."""

    seen: dict[str, Content] = field(default_factory=dict)
    synced: dict[str, Content] = field(default_factory=dict)
    books: list[Book] = field(default_factory=lambda: [Book()])
    """States of the cache: a power failure may bring an older one back."""
    is_dead: bool = False
    """The process that writes has died: no handler of it changes anything any more."""
    next_change: str = ""
    """Which of `CHANGES` comes next."""
    _left: int = 0
    _then: Callable[[], None] | None = None

    def interrupt(self, changes: int, then: Callable[[], None] | None) -> None:
        """Call `then` before the change with this number, from 0; None: nothing happens."""
        self._left, self._then = changes, then

    def changes(self, what: str) -> None:
        """Something is about to be written."""
        if self.is_dead:
            raise Died
        self.next_change = what
        then = self._then
        if then is not None and self._left == 0:
            self._then = None
            then()
        self._left -= 1

    def sync_names(self, directory: str) -> None:
        """What the directory holds now, it holds for ever."""
        for name in [name for name in self.synced if _is_in(directory, name)]:
            del self.synced[name]
        self.synced |= {name: content for name, content in self.seen.items() if _is_in(directory, name)}

    def fail(self, chance: int) -> None:
        """The power fails: what is not synced stays or goes, bit by bit of `chance`."""
        kept: dict[str, Content] = {}
        for number, name in enumerate(sorted(self.seen.keys() | self.synced.keys())):
            names = self.seen if chance >> number % 20 & 1 else self.synced
            if name in names:
                kept[name] = names[name]
        for number, content in enumerate(kept.values()):
            if chance >> number % 17 & 1:
                content.seen = content.synced
            content.synced = content.seen
        self.seen, self.synced = kept, dict(kept)
        del self.books[max(1, len(self.books) - chance % 3) :]


def _is_in(directory: str, name: str) -> bool:
    return name.rpartition("/")[0] == directory


@dataclass(frozen=True, slots=True)
class Place:
    """A path on the disk: what the archiver asks of `pathlib.Path`."""

    disk: Disk
    path: str

    def __truediv__(self, name: str) -> Place:
        return Place(self.disk, f"{self.path}/{name}")

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Place:
        return Place(self.disk, self.path.rpartition("/")[0])

    def with_name(self, name: str) -> Place:
        return self.parent / name

    def __str__(self) -> str:
        return self.path

    def absolute(self) -> Place:
        return self

    def mkdir(self, **_: bool) -> None:
        """Folders are always there."""

    def open(self, mode: str) -> OpenFile:
        assert mode == "xb"
        self.disk.changes("bytes")
        if self.path in self.disk.seen:
            raise FileExistsError(self.path)
        content = self.disk.seen[self.path] = Content(Current.now_s)
        return OpenFile(self.disk, content)

    def read_bytes(self) -> bytes:
        if self.path not in self.disk.seen:
            raise FileNotFoundError(self.path)
        return self.disk.seen[self.path].seen

    def unlink(self, missing_ok: bool = False) -> None:
        if self.path in self.disk.seen:
            self.disk.changes("a removal")
            del self.disk.seen[self.path]
        elif not missing_ok:
            raise FileNotFoundError(self.path)

    def iterdir(self) -> Iterator[Place]:
        names = [name for name in self.disk.seen if name.rpartition("/")[0] == self.path]
        return (Place(self.disk, name) for name in names)

    def stat(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(st_mtime=self.disk.seen[self.path].made_s)


@dataclass(slots=True)
class OpenFile:
    """A file that is being written."""

    disk: Disk
    content: Content

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, some: bytes) -> None:
        self.disk.changes("bytes")
        self.content.seen += some

    def flush(self) -> None:
        pass

    def fileno(self) -> OpenFile:
        return self


def _fsync(what: OpenFile | Place) -> None:
    what.disk.changes("a sync")
    if isinstance(what, OpenFile):
        what.content.synced = what.content.seen
    else:
        what.disk.sync_names(what.path)


def _link(source: Place, target: Place) -> None:
    source.disk.changes("the manifest" if target.parent.name == "manifest" else "the segment's name")
    if target.path in source.disk.seen:
        raise FileExistsError(target.path)
    source.disk.seen[target.path] = source.disk.seen[source.path]


OS = types.SimpleNamespace(
    fsync=_fsync, link=_link, open=lambda place, _: place, close=lambda _: None, O_RDONLY=0, O_DIRECTORY=0
)
"""What the archiver asks of `os`."""


def encoded(rows: Iterable[Row], _: object) -> bytes:
    """In place of Parquet, which takes a millisecond."""
    return marshal.dumps([tuple(row) for row in rows])


def as_rows(rows: Sequence[Row]) -> Sequence[Row]:
    """In place of Arrow's table."""
    return rows


def read_rows(files: Store, segment: Segment) -> list[Row]:
    """The inverse of `encoded`."""
    return [Row._make(row) for row in marshal.loads(files.read(data_name(segment.path)))]


def merge_runs(files: Store, runs: Sequence[MergedRun], *_: object) -> list[Segment]:
    """In place of the merge of tables: the same rows, in parts of a few."""
    rows = sorted((row for run in runs for part in run.parts for row in read_rows(files, part)), key=row_key)
    written = []
    for part, first in enumerate(range(0, len(rows), PART_ROWS)):
        where = SegmentRange(runs[0].lo, runs[-1].hi, 1, part)
        written.append(write_segment(files, rows[first : first + PART_ROWS], where, lambda _: None))
    return written


def store_on(disk: Disk) -> Store:
    """The archive's files, on this disk."""
    return LocalStore(cast(Path, Place(disk, "")))
