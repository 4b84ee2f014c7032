"""Where a partition's manifests and segments live, and how exactly one writer extends them.

A manifest is published by creating its version's name: the second writer of a version hears that it is
taken, knows that it is fenced, and ends. What no manifest names is an orphan of a writer that died between
its segment and its manifest; it is removed once it is older than any commit in progress can be.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from archiver.core.manifest import begun_again, check, claimed, expired_versions, first
from archiver.core.segment import data_name, parse_segment_name
from archiver.parquet import write_empty_segment
from shared.archive_files import ARCHIVE_SQL, archive_sql, epoch_store, epochs_set_aside, newest_manifest
from shared.archive_manifest import Manifest, manifest_name, partition_dir, version_of_name
from shared.archive_store import TEMPORARY_PREFIX, Reached, Store
from shared.errors import ParleyError
from shared.ids import Epoch, Partition

MANIFESTS_KEPT = 100
CLAIMS_MAX = 20
"""Tries to become the writer of a partition while another one publishes."""


_log = structlog.get_logger()


class Fenced(ParleyError):
    """Another archiver writes this partition; this one must end at once."""

    code = "fenced"


class ForeignArchive(ParleyError):
    """The directory holds the archive of another log: `PARLEY_ARCHIVE` is not this system's."""

    code = "foreign_archive"


class ManifestStore:
    """One partition's part of an archive. All methods block: call them off the event loop."""

    def __init__(self, archive: Store, partition: Partition, reached: Reached) -> None:
        self.files = archive.within(partition_dir(partition))
        self._archive = archive
        self._reached = reached

    def open(
        self, partition: Partition, epoch: Epoch, replaced: Collection[Epoch], writer: str, now_us: int
    ) -> Manifest:
        """Become the partition's writer: publish what is there as a version of ours.

        From here on every earlier writer is fenced, so what it left behind can never be published. What an
        epoch among `replaced` left is set aside, and an empty version of the new epoch follows it.
        Raises `BrokenManifest`, `Fenced` and `ForeignArchive`.
        """
        self.files.make("data", "manifest")
        for _ in range(CLAIMS_MAX):
            manifest = self._claim(partition, epoch, replaced, writer, now_us)
            try:
                self.publish(manifest)
            except Fenced:  # the writer before us has published meanwhile: claim what it left
                continue
            if manifest.epoch == epoch:
                return manifest
        raise Fenced(f"{self.files.location} has a busy writer that cannot be overtaken")

    def _claim(
        self, partition: Partition, epoch: Epoch, replaced: Collection[Epoch], writer: str, now_us: int
    ) -> Manifest:
        newest = newest_manifest(self.files)
        if newest is None:
            return first(partition, epoch, writer, now_us)
        check(newest)
        if newest.epoch == epoch:
            return claimed(newest, writer, now_us)
        if newest.epoch not in replaced:
            raise ForeignArchive(
                f"{self.files.location} archives epoch {newest.epoch}, the log is {epoch} and never was that"
                " one"
            )
        if newest.writer != writer:  # ours first: then nobody adds to what is set aside
            return claimed(newest, writer, now_us)
        self._set_aside(newest)
        return begun_again(newest, epoch, writer, now_us)

    def _set_aside(self, over: Manifest) -> None:
        """Keep an epoch that is over as an archive of its own, under second names of its files."""
        root = epoch_store(self._archive, over.epoch)
        aside = root.within(self.files.name)
        aside.make("data", "manifest")
        write_empty_segment(root)
        root.replace(ARCHIVE_SQL, archive_sql(root).encode())
        for name in (
            *(data_name(segment.path) for segment in over.segments),
            _path(over.version),
        ):
            self.files.copy(name, aside, name)
        aside.settle("data", "manifest")
        root.settle()
        _log.error("archive.set_aside", partition=over.partition, epoch=over.epoch, archive=aside.location)

    def set_aside(self) -> list[Store]:
        """This partition's part of the archives of epochs that are over."""
        return [aside.within(self.files.name) for aside in epochs_set_aside(self._archive)]

    def publish(self, manifest: Manifest) -> None:
        """Make a version the truth, durably; raises `Fenced` if it is not ours to write."""
        name = _path(manifest.version)
        try:
            self.files.create(name, manifest.model_dump_json().encode(), self._reached)
        except FileExistsError as error:
            raise Fenced(f"{name} of {self.files.location} is another writer's") from error
        self.check_ours(manifest)  # or so late that our version had been removed already

    def check_ours(self, manifest: Manifest) -> None:
        """Raises `Fenced` if there is a later version than this one of ours."""
        if max(self._versions()) > manifest.version:
            raise Fenced(f"{self.files.location} has gone beyond version {manifest.version}")

    def sweep(
        self, manifest: Manifest, now_us: int, grace_s: float, released: Collection[str] = ()
    ) -> list[str]:
        """Remove released segments, orphans older than the grace, and old manifests; what was removed.

        Nobody may be writing segments meanwhile that are still to be published.
        """
        self.check_ours(manifest)  # or our idea of what is live is old
        oldest_s = now_us / 1e6 - grace_s
        live = {segment.path for segment in manifest.segments} | {gone.path for gone in manifest.retired}
        orphans = [
            f"{folder}/{entry.name}"
            for folder in ("data", "manifest")
            for entry in self.files.entries(folder)
            if entry.name not in live
            and _ours(entry.name)
            and (entry.made_s < oldest_s or entry.name in released)
        ]
        for name in orphans:
            self.files.remove(name)
        for version in expired_versions(self._versions(), MANIFESTS_KEPT):
            self.files.remove(_path(version))
        return orphans

    def _versions(self) -> list[int]:
        names = self.files.names("manifest")
        return [version for name in names if (version := version_of_name(name)) is not None]


def _path(version: int) -> str:
    return f"manifest/{manifest_name(version)}"


def _ours(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) or parse_segment_name(name) is not None
