"""The next manifest: pure steps between versions, each checked so that none loses or doubles an event."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from shared.archive_manifest import Manifest, Retired, RowKey, Segment
from shared.errors import ParleyError
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq


class BrokenManifest(ParleyError):
    """A manifest, or a step to the next one, would not hold every event exactly once."""

    code = "broken_manifest"


def first(partition: Partition, epoch: Epoch, writer: str, now_us: int) -> Manifest:
    """Version 1: an archive of this log that holds nothing yet."""
    return Manifest(
        partition=partition, epoch=epoch, version=1, writer=writer, written_us=now_us, hi=StreamSeq(0)
    )


def claimed(manifest: Manifest, writer: str, now_us: int) -> Manifest:
    """The same archive one version on: whoever wrote it before finds its next version taken."""
    return _next(manifest, writer, now_us)


def begun_again(over: Manifest, epoch: Epoch, writer: str, now_us: int) -> Manifest:
    """The version behind the last one of an epoch that is over: the new epoch's archive, still empty."""
    empty = first(over.partition, epoch, writer, now_us)
    return empty.model_copy(update={"version": over.version + 1})


def extended(manifest: Manifest, segment: Segment, hi_us: int, writer: str, now_us: int) -> Manifest:
    """The next version, with one more level-0 segment right above `hi`, whose last event is of `hi_us`."""
    if segment.lo != manifest.hi + 1:
        raise BrokenManifest(f"segment begins at {segment.lo}, the archive ends at {manifest.hi}")
    if segment.rows != segment.hi - segment.lo + 1:
        raise BrokenManifest(f"segment {segment.lo}..{segment.hi} has {segment.rows} rows")
    return _next(manifest, writer, now_us).model_copy(
        update={"hi": segment.hi, "hi_us": hi_us, "segments": (*manifest.segments, segment)}
    )


def compacted(
    manifest: Manifest, inputs: Collection[Segment], outputs: Sequence[Segment], writer: str, now_us: int
) -> Manifest:
    """The next version, in which `outputs` stand for `inputs`; those are retired, and go after a grace."""
    if not set(inputs) <= set(manifest.segments):
        raise BrokenManifest("what was merged is not live any more")
    kept = [segment for segment in manifest.segments if segment not in inputs]
    gone = [Retired(path=segment.path, at_us=now_us) for segment in inputs]
    following = _next(manifest, writer, now_us).model_copy(
        update={"segments": (*kept, *outputs), "retired": (*manifest.retired, *gone)}
    )
    check(following)
    return following


def emptied(
    manifest: Manifest, replaced: Mapping[Segment, Segment], erased: StreamSeq, writer: str, now_us: int
) -> Manifest:
    """The next version, in which segments without erased texts stand for those with them."""
    if not replaced.keys() <= set(manifest.segments):
        raise BrokenManifest("what was emptied is not live any more")
    segments = tuple(replaced.get(segment, segment) for segment in manifest.segments)
    gone = [Retired(path=segment.path, at_us=now_us, erased=True) for segment in replaced]
    following = _next(manifest, writer, now_us).model_copy(
        update={"segments": segments, "retired": (*manifest.retired, *gone), "erased": erased}
    )
    check(following)
    return following


class Grace(NamedTuple):
    """For how many microseconds a retired segment stays: longer than any query; with erased text, shorter."""

    any_us: int
    erased_us: int


def swept(manifest: Manifest, grace: Grace, writer: str, now_us: int) -> Manifest | None:
    """The next version, without what was retired before the grace; None if nothing was."""
    kept = tuple(
        gone
        for gone in manifest.retired
        if now_us - gone.at_us <= (grace.erased_us if gone.erased else grace.any_us)
    )
    if len(kept) == len(manifest.retired):
        return None
    return _next(manifest, writer, now_us).model_copy(update={"retired": kept})


def check(manifest: Manifest) -> None:
    """Raise `BrokenManifest` unless the ranges tile 1..hi and hold as many rows as that has events."""
    reached = 0
    for (lo, hi), parts in ranges(manifest.segments):
        if lo != reached + 1:
            raise BrokenManifest(f"version {manifest.version} jumps from {reached} to {lo}")
        if sum(part.rows for part in parts) != hi - lo + 1:
            raise BrokenManifest(f"version {manifest.version} has not {hi - lo + 1} rows in {lo}..{hi}")
        reached = hi
    if reached != manifest.hi:
        raise BrokenManifest(f"version {manifest.version} ends at {reached}, not at {manifest.hi}")


def ranges(segments: Iterable[Segment]) -> list[tuple[tuple[StreamSeq, StreamSeq], list[Segment]]]:
    """Segments grouped by their range of stream sequences, in order; a range's parts are in order of key."""
    ordered = sorted(segments, key=attrgetter("lo", "hi", "min_key"))
    return [(span, list(parts)) for span, parts in groupby(ordered, key=attrgetter("lo", "hi"))]


def covering(
    manifest: Manifest, key: ChannelKey, seqs: tuple[Seq, Seq], stream: tuple[StreamSeq, StreamSeq]
) -> list[Segment]:
    """The segments that can hold the channel's events `seqs`, which lie in `stream` (both inclusive)."""
    lowest, highest = RowKey(*key, seqs[0]), RowKey(*key, seqs[1])
    return [
        segment
        for segment in manifest.segments
        if segment.lo <= stream[1]
        and segment.hi >= stream[0]
        and segment.min_key <= highest
        and segment.max_key >= lowest
    ]


def expired_versions(versions: Iterable[int], keep: int) -> list[int]:
    """All but the `keep` newest versions."""
    return sorted(versions)[:-keep]


def _next(manifest: Manifest, writer: str, now_us: int) -> Manifest:
    return manifest.model_copy(
        update={"version": manifest.version + 1, "writer": writer, "written_us": now_us}
    )
