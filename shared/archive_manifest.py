"""The manifest of one partition of the archive: which files hold its events. Values and names only.

A partition's directory holds `manifest/<version>.json` and `data/<segment>.parquet`. The manifest with the
highest version is the only truth about which segments are live; what no manifest names does not exist.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from shared.ids import Epoch, Partition, StreamSeq

EMPTY_SEGMENT = "schema.parquet"
"""No rows, only the columns: every list of files begins with it, so that an empty archive can be queried."""

_PARTITION_DIR = re.compile(r"p(\d{2,})")
_MANIFEST_NAME = re.compile(r"(\d{20})\.json")


class RowKey(NamedTuple):
    """The order of rows in every segment: channel by channel, each by seq."""

    workspace: str
    channel: str
    seq: int


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Segment(_Value):
    """One immutable file: it holds events of the stream sequences `lo` to `hi`, sorted by `RowKey`."""

    path: str
    """The name in the partition's `data` directory."""
    lo: StreamSeq
    hi: StreamSeq
    level: int
    part: int
    """0 at level 0; above it, segments of one range are cut by key into parts."""
    rows: int
    bytes: int
    min_key: RowKey
    max_key: RowKey
    min_us: int
    max_us: int
    sha256: str


class Retired(_Value):
    """A segment that was replaced; readers of older manifests may still have it open until it is unlinked."""

    path: str
    at_us: int
    erased: bool = False
    """It holds text that was erased: it goes as soon as no query can be reading it."""


class Manifest(_Value):
    """Everything up to stream sequence `hi` is in `segments`, each event once."""

    v: Literal[1] = 1
    partition: Partition
    epoch: Epoch
    version: int
    writer: str
    """Names the process that published it, for people who investigate."""
    written_us: int
    hi: StreamSeq
    hi_us: int = 0
    """When the event at `hi` happened: the log must hold that one there."""
    erased: StreamSeq = StreamSeq(0)
    """Whatever events up to there erase has no text in `segments`."""
    segments: tuple[Segment, ...] = ()
    retired: tuple[Retired, ...] = ()


def partition_dir(partition: int) -> str:
    """The directory of a partition, relative to the archive's."""
    return f"p{partition:02d}"


def partition_of_dir(name: str) -> Partition | None:
    """The inverse of `partition_dir`; None for any other name."""
    match = _PARTITION_DIR.fullmatch(name)
    return Partition(int(match[1])) if match else None


def manifest_name(version: int) -> str:
    """The file name of a version; names sort as versions do."""
    return f"{version:020d}.json"


def version_of_name(name: str) -> int | None:
    """The inverse of `manifest_name`; None for any other name."""
    match = _MANIFEST_NAME.fullmatch(name)
    return int(match[1]) if match else None
