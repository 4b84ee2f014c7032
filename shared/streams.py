"""The JetStream objects as data, and the one place that creates them.

One stream `LOG_<p>` per partition holds the logs of its channels. It republishes every committed message
to `live…`, deduplicates by message id, and never deletes from its middle, so that stream sequences stay
contiguous and a follower can prove that it missed nothing. P is fixed at first start: it stands, with the
log's epoch, in each stream's metadata.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from shared import subjects
from shared.bus import Bus, BusError
from shared.clock import now_us
from shared.errors import Misconfigured
from shared.ids import Epoch, Partition
from shared.settings import CommonSettings

DUPLICATE_WINDOW_S = 120
"""JetStream remembers message ids for this long; ids fresher than half of it take the fast path."""

EVENT_BYTES_MAX = 256 * 1024
PARTITIONS_MAX = 1024

EPOCH_LABEL = "parley.epoch"
REPLACED_LABEL = "parley.epoch.replaced"
"""In a stream's metadata: the epoch of its log, and those before it, with spaces between."""

_PARTITIONS = "parley.partitions"
_NOT_FOUND = 10059
_NAME_IN_USE = 10058

StreamConfig = dict[str, object]


@dataclass(frozen=True, slots=True)
class Layout:
    """What was fixed when the streams were created."""

    partitions: int
    epochs: Mapping[Partition, Epoch]


def log_config(partition: Partition, *, partitions: int, replicas: int, epoch: Epoch) -> StreamConfig:
    """Configuration of a partition's log, as JetStream's API takes it (durations in nanoseconds)."""
    return {
        "name": subjects.log_stream(partition),
        "subjects": [f"channel.{partition}.>"],
        "republish": {"src": f"channel.{partition}.>", "dest": f"live.{partition}.>"},
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": replicas,
        "max_msg_size": EVENT_BYTES_MAX,
        "duplicate_window": DUPLICATE_WINDOW_S * 1_000_000_000,
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": True,
        "metadata": {EPOCH_LABEL: epoch, _PARTITIONS: str(partitions)},
    }


def bucket_config(bucket: str, *, replicas: int) -> StreamConfig:
    """Configuration of a key-value bucket that keeps the newest value of each key."""
    return {
        "name": subjects.bucket_stream(bucket),
        "subjects": [f"$KV.{bucket}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }


async def ensure_streams(bus: Bus, settings: CommonSettings) -> Layout:
    """Create what is missing and read what was fixed at first start.

    Raises `Misconfigured` if the settings name another number of partitions than the logs have.
    """
    epochs: dict[Partition, Epoch] = {}
    for number in range(settings.partitions):
        partition = Partition(number)
        fresh = log_config(
            partition,
            partitions=settings.partitions,
            replicas=settings.replicas,
            epoch=Epoch(secrets.token_hex(4)),
        )
        epochs[partition] = _epoch(await _ensure(bus, fresh), settings.partitions)
    for bucket in subjects.BUCKETS:
        await ensure_bucket(bus, bucket, replicas=settings.replicas)
    return Layout(settings.partitions, epochs)


async def ensure_bucket(bus: Bus, bucket: str, *, replicas: int) -> None:
    """Create a bucket if it is missing (the sequencer's can be deleted: it is derived).

    Its revisions begin with the time, so that none of them was one of a bucket of that name before it.
    """
    await _ensure(bus, {**bucket_config(bucket, replicas=replicas), "first_seq": now_us()})


async def _ensure(bus: Bus, wanted: StreamConfig) -> StreamConfig:
    name = wanted["name"]
    try:
        return _config(await bus.api(f"STREAM.INFO.{name}", {}))
    except BusError as error:
        if error.err_code != _NOT_FOUND:
            raise
    try:
        return _config(await bus.api(f"STREAM.CREATE.{name}", wanted))
    except BusError as error:
        if error.err_code != _NAME_IN_USE:  # another service was faster, with an epoch of its own
            raise
    return _config(await bus.api(f"STREAM.INFO.{name}", {}))


def _config(info: Mapping[str, object]) -> StreamConfig:
    config = info["config"]
    assert isinstance(config, dict)
    return config


def _epoch(config: StreamConfig, partitions: int) -> Epoch:
    metadata = config.get("metadata")
    assert isinstance(metadata, dict)
    if metadata.get(_PARTITIONS) != str(partitions):
        raise Misconfigured(
            f"{config['name']} was created for {metadata.get(_PARTITIONS)} partitions, the setting says"
            f" {partitions}; the number is fixed at first start: set PARLEY_PARTITIONS back"
        )
    return Epoch(str(metadata[EPOCH_LABEL]))
