"""Where a partition's manifests and segments live, and how exactly one writer extends them.

A manifest is published by `link()` to its version's name: the second writer of a version gets EEXIST, knows
that it is fenced, and ends. What no manifest names is an orphan of a writer that died between its segment and
its manifest; it is removed once it is older than any commit in progress can be.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Collection
from pathlib import Path

import structlog

from archiver.core.manifest import begun_again, check, claimed, expired_versions, first
from archiver.core.segment import parse_segment_name
from archiver.parquet import (
    TEMPORARY_PREFIX,
    Reached,
    sync_directory,
    write_durably,
    write_empty_segment,
    write_synced,
)
from shared.archive_files import ARCHIVE_SQL, archive_sql, epoch_directory, newest_manifest
from shared.archive_manifest import Manifest, manifest_name, version_of_name
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
    """The directory holds the archive of another log: `PARLEY_ARCHIVE_DIR` is not this system's."""

    code = "foreign_archive"


class ManifestStore:
    """The directory of one partition. All methods block: call them off the event loop."""

    def __init__(self, directory: Path, reached: Reached) -> None:
        self.data = directory / "data"
        self._directory = directory
        self._manifests = directory / "manifest"
        self._reached = reached

    def open(
        self, partition: Partition, epoch: Epoch, replaced: Collection[Epoch], writer: str, now_us: int
    ) -> Manifest:
        """Become the partition's writer: publish what is there as a version of ours.

        From here on every earlier writer is fenced, so what it left behind can never be published. What an
        epoch among `replaced` left is set aside, and an empty version of the new epoch follows it.
        Raises `BrokenManifest`, `Fenced` and `ForeignArchive`.
        """
        for directory in (self.data, self._manifests):
            directory.mkdir(parents=True, exist_ok=True)
        sync_directory(self._directory)
        sync_directory(self._directory.parent)
        for _ in range(CLAIMS_MAX):
            manifest = self._claim(partition, epoch, replaced, writer, now_us)
            try:
                self.publish(manifest)
            except Fenced:  # the writer before us has published meanwhile: claim what it left
                continue
            if manifest.epoch == epoch:
                return manifest
        raise Fenced(f"{self._directory} has a busy writer that cannot be overtaken")

    def _claim(
        self, partition: Partition, epoch: Epoch, replaced: Collection[Epoch], writer: str, now_us: int
    ) -> Manifest:
        newest = newest_manifest(self._directory)
        if newest is None:
            return first(partition, epoch, writer, now_us)
        check(newest)
        if newest.epoch == epoch:
            return claimed(newest, writer, now_us)
        if newest.epoch not in replaced:
            raise ForeignArchive(
                f"{self._directory} archives epoch {newest.epoch}, the log is {epoch} and never was that one"
            )
        if newest.writer != writer:  # ours first: then nobody adds to what is set aside
            return claimed(newest, writer, now_us)
        self._set_aside(newest)
        return begun_again(newest, epoch, writer, now_us)

    def _set_aside(self, over: Manifest) -> None:
        """Keep an epoch that is over as an archive of its own, under second names of its files."""
        root = epoch_directory(self._directory.parent, over.epoch)
        aside = root / self._directory.name
        for directory in (aside / "data", aside / "manifest"):
            directory.mkdir(parents=True, exist_ok=True)
        write_empty_segment(root)
        write_durably(root / ARCHIVE_SQL, archive_sql(root).encode(), lambda _: None)
        name = manifest_name(over.version)
        for segment in over.segments:
            _link(self.data / segment.path, aside / "data" / segment.path)
        _link(self._manifests / name, aside / "manifest" / name)
        for directory in (aside / "data", aside / "manifest", aside, root, root.parent, root.parent.parent):
            sync_directory(directory)
        _log.error("archive.set_aside", partition=over.partition, epoch=over.epoch, directory=str(aside))

    def publish(self, manifest: Manifest) -> None:
        """Make a version the truth, durably; raises `Fenced` if it is not ours to write."""
        temporary = self._manifests / (TEMPORARY_PREFIX + secrets.token_hex(8))
        try:
            write_synced(temporary, manifest.model_dump_json().encode(), lambda _: None)
            self._reached("manifest-written")
            os.link(temporary, self._manifests / manifest_name(manifest.version))
        except FileExistsError as error:
            raise Fenced(f"version {manifest.version} of {self._directory} is another writer's") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._reached("manifest-linked")
        sync_directory(self._manifests)
        self._reached("manifest-directory-synced")
        self.check_ours(manifest)  # or so late that our version had been removed already

    def check_ours(self, manifest: Manifest) -> None:
        """Raises `Fenced` if there is a later version than this one of ours."""
        if max(self._versions()) > manifest.version:
            raise Fenced(f"{self._directory} has gone beyond version {manifest.version}")

    def sweep(self, manifest: Manifest, now_us: int, grace_s: float) -> list[str]:
        """Remove orphans older than the grace, and manifests that nobody needs; names the orphans."""
        self.check_ours(manifest)  # or our idea of what is live is old
        oldest_s = now_us / 1e6 - grace_s
        live = {segment.path for segment in manifest.segments} | {gone.path for gone in manifest.retired}
        orphans = [
            path
            for path in (*self.data.iterdir(), *self._manifests.glob(f"{TEMPORARY_PREFIX}*"))
            if path.name not in live and _ours(path.name) and _modified_s(path) < oldest_s
        ]
        for path in orphans:
            path.unlink(missing_ok=True)
        for version in expired_versions(self._versions(), MANIFESTS_KEPT):
            (self._manifests / manifest_name(version)).unlink(missing_ok=True)
        return [path.name for path in orphans]

    def _versions(self) -> list[int]:
        names = (path.name for path in self._manifests.iterdir())
        return [version for name in names if (version := version_of_name(name)) is not None]


def _link(path: Path, second: Path) -> None:
    with contextlib.suppress(FileExistsError):  # the try before this one died behind it
        os.link(path, second)


def _ours(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) or parse_segment_name(name) is not None


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
