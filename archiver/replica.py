"""One partition's archive that somebody else writes: it takes the writer's manifests over, and writes none.

What it knows beyond the manifest it has from the log, as the writer does. A newer manifest that ends within
that is taken over in the writer's order: cache, then memory (manifest swapped, hot dropped: one step).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from archiver.core.compaction import runs_of
from archiver.core.hot import Batch, ChannelEvents, Head, HotEvent
from archiver.core.manifest import check
from archiver.erasing import Name, may_hold, names_within
from archiver.manifest_store import ForeignArchive
from archiver.partition import PartitionArchive
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, manifest_name
from shared.channel import fold
from shared.erasure import Erasures
from shared.errors import LogRegressed, Unavailable
from shared.ids import ChannelKey, StreamSeq


class PartitionReplica(PartitionArchive):
    """`taken_over` runs on the loop; `open`, `newer`, `erased_names` and `take_in` block, and run off it."""

    def open(self) -> None:
        """Read the newest manifest, and bring the cache up to it.

        Raises `Unavailable` where the writer has to begin first, OSError if the store refuses or a segment
        was replaced meanwhile (try again), `BrokenManifest` and `ForeignArchive`.
        """
        manifest = newest_manifest(self.files)
        if manifest is None:
            raise Unavailable(f"nobody has written {self.files.location} yet", retry_after_ms=1000)
        check(manifest)
        if manifest.epoch != self.epoch:
            what = f"{self.files.location} archives epoch {manifest.epoch}, the log is {self.epoch}"
            if manifest.epoch not in self._replaced:
                raise ForeignArchive(f"{what} and never was that one")
            raise Unavailable(f"{what}: its writer has to begin anew first", retry_after_ms=1000)
        self._begin(manifest)
        if not self.cache.position:  # what it takes in now has no such text any more
            self.cache.forget_bodies((), manifest.erased, 0)
        self._catch_up()
        self.cache.forget_bodies(self.erased_names(manifest), manifest.erased, 0)

    def newer(self, *, listed: bool) -> Manifest | None:
        """The newest manifest, if it is newer than ours. Raises OSError (try again) and `LogRegressed`.

        Unless `listed`, the versions behind ours are asked for by name: in a bucket that costs a twelfth of
        a list. It finds nothing if so many were written that the next one is gone.
        """
        found: Manifest | None = None
        if listed:
            found = newest_manifest(self.files)
            if found is None:
                raise FileNotFoundError(f"{self.files.location} has no manifest any more")
        else:
            for version in itertools.count(self.manifest.version + 1):
                try:
                    content = self.files.read(f"manifest/{manifest_name(version)}")
                except FileNotFoundError:
                    break
                found = Manifest.model_validate_json(content)
        if found is None or found == self.manifest:
            return None
        check(found)
        if found.epoch != self.epoch:
            raise LogRegressed(f"{self.files.location} archives epoch {found.epoch} now")
        if found.version <= self.manifest.version or found.hi < self.manifest.hi:
            raise LogRegressed(
                f"{self.files.location} went back from version {self.manifest.version} to {found.version}"
            )
        return found

    def erased_names(self, manifest: Manifest) -> list[Name]:
        """The commands of which a manifest has no text any more, and the cache may still know what they said.

        Raises OSError (try again, with a newer one).
        """
        forgotten = self.cache.forgotten
        if manifest.erased <= forgotten:
            return []
        carried_out = [
            *self.cache.erasures(forgotten)[0],
            *(one for one in self.erasures if one.stream_seq > self.cache.position),
        ]
        erasures = Erasures(one for one in carried_out if one.stream_seq <= manifest.erased)
        names: list[Name] = []
        for segment in manifest.segments:
            concerned = Erasures(one for one in erasures if may_hold(segment, one))
            if concerned:
                names += names_within(self.files, segment, concerned)
        return names

    def take_in(self, manifest: Manifest, names: Sequence[Name], hot: Sequence[HotEvent]) -> Batch | None:
        """Bring the cache up to a manifest; what memory may forget then.

        `hot`: all that is hot up to the manifest's end, in the order of the log.
        """
        batch: Batch | None = None
        if hot:
            lo, last = StreamSeq(self.manifest.hi + 1), hot[-1].recorded
            batch = Batch(lo, manifest.hi, last.at_us, tuple(self._counted(hot)))
            channels = ((key, head, self._left(key, events)) for key, head, events in batch.channels)
            self.cache.record(lo, manifest.hi, channels)
        known = {(run.lo, run.hi) for run in runs_of(self.manifest.segments)}
        for run in runs_of(manifest.segments):
            if run.parts[0].level and (run.lo, run.hi) not in known:
                self.cache.join_runs(run.lo, run.hi)
        if manifest.erased > self.manifest.erased:
            self.cache.forget_bodies(names, manifest.erased, 0)
        self._reached("manifest-taken-in")
        return batch

    def taken_over(self, manifest: Manifest, batch: Batch | None) -> None:
        """Swap to it and forget what it holds: one step, so that readers see no seam."""
        self.erased(manifest)
        if batch is not None:
            self.proof_us = batch.hi_us
            self.hot.drop(batch)

    def _counted(self, events: Sequence[HotEvent]) -> Iterator[ChannelEvents]:
        """By channel, with where it stands after them: memory may be further."""
        found: dict[ChannelKey, list[HotEvent]] = {}
        for hot in events:
            found.setdefault(hot.recorded.key, []).append(hot)
        heads = self.cache.heads(found)
        for key, of_channel in sorted(found.items()):
            state, greatest = heads[key].state, heads[key].greatest
            for hot in of_channel:
                state, _ = fold(state, hot.recorded.event)
                greatest = max(greatest, hot.recorded.event.id)
            last = of_channel[-1].recorded
            yield key, Head(last.seq, last.stream_seq, state, greatest), of_channel
