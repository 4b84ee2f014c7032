"""Names of the archive, and a manifest's way through JSON."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.archive_manifest import (
    Manifest,
    RowKey,
    Segment,
    manifest_name,
    partition_dir,
    partition_of_dir,
    version_of_name,
)
from shared.ids import Epoch, Partition, StreamSeq


@given(st.integers(1, 10**19))
def test_versions_have_names_that_sort(version: int) -> None:
    """Names read back, and the newest name is the newest version."""
    assert version_of_name(manifest_name(version)) == version
    assert manifest_name(version) < manifest_name(version + 1)


@given(st.integers(0, 1023))
def test_partitions_have_directories(partition: int) -> None:
    """Directory names read back."""
    assert partition_of_dir(partition_dir(partition)) == partition


def test_other_names_are_nobodys() -> None:
    """Temporary and foreign names are no versions and no partitions."""
    for name in (".tmp-00", "1.json", "00000000000000000001.json.bak", "p1", "cache", "p0x"):
        assert version_of_name(name) is None
        assert partition_of_dir(name) is None


def test_a_manifest_survives_json() -> None:
    """Every field comes back as it was, keys as keys."""
    segment = Segment(
        path="a.parquet",
        lo=StreamSeq(1),
        hi=StreamSeq(2),
        level=0,
        part=0,
        rows=2,
        bytes=9,
        min_key=RowKey("a", "b", 1),
        max_key=RowKey("a", "c", 1),
        min_us=5,
        max_us=6,
        sha256="00",
    )
    manifest = Manifest(
        partition=Partition(3),
        epoch=Epoch("e"),
        version=4,
        writer="w",
        written_us=7,
        hi=StreamSeq(2),
        segments=(segment,),
    )
    again = Manifest.model_validate_json(manifest.model_dump_json())
    assert again == manifest
    assert isinstance(again.segments[0].min_key, RowKey)
