"""Reads a few events of one channel out of segments: footers once, then the row groups that they lie in.

A page asks for fifty rows of one row group. DuckDB, asked for them, takes three times the CPU of reading the
group as it is (DESIGN.md). A group's keys are looked at before the rest of it is decoded. In a bucket every
look is a request: all footers that are missing are fetched at once, and then all row groups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import pyarrow as pa

from archiver import parquet
from archiver.columns import Columns, Ranges, read_columns
from archiver.core.segment import data_name
from archiver.footers import Footer, Footers, Why
from archiver.kept_groups import KeptGroups
from archiver.pieces import AtOnce, Part
from shared.archive_manifest import Manifest, Segment
from shared.archive_rows import Row
from shared.archive_store import Store
from shared.ids import ChannelKey, Seq

TAIL_BYTES = 16 * 1024
TAIL_GROUP_BYTES = 2_048
"""How long a footer is at most, as far as known: so much, and so much more for every 8,192 rows."""

_FOOTER_END = 8


class Stretch(NamedTuple):
    """Consecutive events of a channel, both ends inclusive, and the segments that can hold them."""

    segments: Sequence[Segment]
    first: Seq
    last: Seq


class _Group(NamedTuple):
    """A row group of a segment."""

    segment: Segment
    number: int


@dataclass(frozen=True, slots=True)
class Known:
    """What all partitions of a process share to read segments."""

    footers: Footers = field(default_factory=Footers)
    groups: KeptGroups = field(default_factory=KeptGroups)
    at_once: AtOnce = field(default_factory=AtOnce)
    ahead: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "ahead"))
    """Reads footers that no page has asked for yet; of a file that cannot be read the page says so."""

    def close(self) -> None:
        """Wait for what is on its way."""
        self.ahead.shutdown(wait=True, cancel_futures=True)
        self.at_once.close()


class SegmentReader:
    """Of one partition. What reads blocks; call it from any thread, off the loop."""

    def __init__(self, partition: Store, known: Known) -> None:
        self._partition = partition
        self._known = known
        self._live: set[str] = set()

    def follow(self, manifest: Manifest) -> list[Segment]:
        """The manifest is another one: forget files that it does not name, and keep nothing more of them.

        Returns those that are new.
        """
        named = {self._label(segment): segment for segment in manifest.segments}
        gone, new = self._live - named.keys(), named.keys() - self._live
        self._live |= new
        self._live -= gone  # the same set, which whoever reads at this moment looks into
        if gone:
            self._known.footers.forget(gone)
            self._known.groups.forget(gone)
        return [segment for label, segment in named.items() if label in new]

    def read_ahead(self, segments: Sequence[Segment]) -> None:
        """Begin to read the footers of these files, so that no page has to.

        The last ones first, whose events are the newest, and none for which another had to be forgotten.
        """
        for segment in reversed(segments):
            self._known.ahead.submit(self._read_ahead, segment)

    def _read_ahead(self, segment: Segment) -> None:
        label, footers = self._label(segment), self._known.footers
        has_room = -(-segment.rows // parquet.ROW_GROUP_ROWS) <= footers.room
        if label in self._live and has_room and footers.get(label) is None:
            self._footer(segment, why="ahead")

    def rows(
        self, key: ChannelKey, stretches: Sequence[Stretch], wanted: Collection[Seq] | None = None
    ) -> list[Row]:
        """A channel's events in these ascending stretches, or the wanted ones of them, in order.

        Raises FileNotFoundError and OSError.
        """
        footers = self._footers_of(dict.fromkeys(it for stretch in stretches for it in stretch.segments))
        plan: dict[_Group, list[tuple[Seq, Seq]]] = {}
        for segments, first, last in stretches:
            for segment in segments:
                for number in footers[segment].may_hold(key, first, last):
                    plan.setdefault(_Group(segment, number), []).append((first, last))
        found: list[Row] = []
        for columns, places in self._columns(key, footers, plan):
            for consecutive in filter(None, places):
                found += columns.rows(consecutive, wanted)
        return sorted(found, key=attrgetter("seq"))

    def _columns(
        self, key: ChannelKey, footers: Mapping[Segment, Footer], plan: Mapping[_Group, Ranges]
    ) -> Iterator[tuple[Columns, list[range]]]:
        """Each group, kept or read, and where in it the events of its ranges are."""
        missing: dict[_Group, Columns | None] = {}
        for group, seqs in plan.items():
            columns = self._known.groups.get(self._label(group.segment), group.number)
            places = columns.within(key, seqs) if columns else []
            if columns and (columns.is_whole or not any(places)):
                yield columns, places
            else:
                missing[group] = columns

        def read(group: _Group) -> tuple[Columns, list[range]]:
            return self._read(footers[group.segment], group, key, plan[group], missing[group])

        yield from self._known.at_once.each(self._partition, read, list(missing))

    def _read(
        self, footer: Footer, group: _Group, key: ChannelKey, ranges: Ranges, keys: Columns | None
    ) -> tuple[Columns, list[range]]:
        segment, number = group
        place = footer.group(number).place
        content = self._partition.piece(data_name(segment.path), *place)
        with pa.PythonFile(Part(segment.bytes, place.offset, content), mode="r") as file:
            columns, places = read_columns(file, footer.metadata, number, key, ranges, keys)
        self._known.groups.keep(self._label(segment), number, columns, self._live)
        return columns, places

    def _footers_of(self, segments: Iterable[Segment]) -> dict[Segment, Footer]:
        known = {segment: self._known.footers.get(self._label(segment)) for segment in segments}
        missing = [segment for segment, footer in known.items() if footer is None]
        read = self._known.at_once.each(self._partition, self._footer, missing)
        known |= zip(missing, read, strict=True)
        return {segment: footer for segment, footer in known.items() if footer is not None}

    def _footer(self, segment: Segment, why: Why = "page") -> Footer:
        end = self._end(segment, _tail_bytes(segment))
        length = int.from_bytes(end[-_FOOTER_END:][:4], "little") + _FOOTER_END
        if length > len(end):
            end = self._end(segment, length)
        return self._known.footers.read(self._label(segment), pa.BufferReader(end), self._live, why)

    def _end(self, segment: Segment, length: int) -> bytes:
        return self._partition.piece(data_name(segment.path), segment.bytes - length, length)

    def _label(self, segment: Segment) -> str:
        return f"{self._partition.location}/{segment.path}"


def _tail_bytes(segment: Segment) -> int:
    return min(segment.bytes, TAIL_BYTES + TAIL_GROUP_BYTES * (segment.rows // 8_192))
