"""Where a partition's manifests and segments live, and how exactly one writer extends them.

A manifest is published by `link()` to its version's name: the second writer of a version gets EEXIST, knows
that it is fenced, and ends. What no manifest names is an orphan of a writer that died between its segment and
its manifest; it is removed once it is older than any commit in progress can be.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from archiver.core.manifest import check, claimed, expired_versions, first
from archiver.core.segment import parse_segment_name
from archiver.parquet import TEMPORARY_PREFIX, Reached, sync_directory, write_synced
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, manifest_name, version_of_name
from shared.errors import LogRegressed, ParleyError
from shared.ids import Epoch, Partition

MANIFESTS_KEPT = 100


CLAIMS_MAX = 20
"""Tries to become the writer of a partition while another one publishes."""


class Fenced(ParleyError):
    """Another archiver writes this partition; this one must end at once."""

    code = "fenced"


class ManifestStore:
    """The directory of one partition. All methods block: call them off the event loop."""

    def __init__(self, directory: Path, reached: Reached) -> None:
        self.data = directory / "data"
        self._directory = directory
        self._manifests = directory / "manifest"
        self._reached = reached

    def open(self, partition: Partition, epoch: Epoch, writer: str, now_us: int) -> Manifest:
        """Become the partition's writer: publish what is there as a version of ours.

        From here on every earlier writer is fenced, so what it left behind can never be published.
        Raises `BrokenManifest`, `Fenced`, and `LogRegressed` if the archive is of another log.
        """
        for directory in (self.data, self._manifests):
            directory.mkdir(parents=True, exist_ok=True)
        sync_directory(self._directory)
        sync_directory(self._directory.parent)
        for _ in range(CLAIMS_MAX):
            manifest = self._claim(partition, epoch, writer, now_us)
            try:
                self.publish(manifest)
            except Fenced:  # the writer before us has published meanwhile: claim what it left
                continue
            return manifest
        raise Fenced(f"{self._directory} has a busy writer that cannot be overtaken")

    def _claim(self, partition: Partition, epoch: Epoch, writer: str, now_us: int) -> Manifest:
        newest = newest_manifest(self._directory)
        if newest is None:
            return first(partition, epoch, writer, now_us)
        check(newest)
        if newest.epoch != epoch:
            raise LogRegressed(f"{self._directory} archives epoch {newest.epoch}, the log is {epoch}")
        return claimed(newest, writer, now_us)

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
        self._still_newest(manifest.version)  # or so late that our version had been removed already

    def sweep(self, manifest: Manifest, now_us: int, grace_s: float) -> list[str]:
        """Remove orphans older than the grace, and manifests that nobody needs; names the orphans."""
        self._still_newest(manifest.version)  # or our idea of what is live is old
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

    def _still_newest(self, version: int) -> None:
        if max(self._versions()) > version:
            raise Fenced(f"{self._directory} has gone beyond version {version}")

    def _versions(self) -> list[int]:
        names = (path.name for path in self._manifests.iterdir())
        return [version for name in names if (version := version_of_name(name)) is not None]


def _ours(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) or parse_segment_name(name) is not None


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
