"""The sequencer's checkpoints, as an edge begins with them when it brings channels up."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from pydantic import ValidationError

from edge.epochs import Epochs
from edge.lookups import Lookups, Spawn
from shared.bus import Bus, BusError
from shared.errors import Unavailable
from shared.ids import ChannelKey
from shared.records import Checkpoint
from shared.stream_reads import LAST_SUBJECTS_MAX
from shared.subjects import CHECKPOINTS, bucket_stream, checkpoint_key, kv_subject, partition_of

_log = structlog.get_logger()


class Checkpoints:
    """One per edge."""

    def __init__(self, bus: Bus, partitions: int, epochs: Epochs, *, spawn: Spawn) -> None:
        self._partitions = partitions
        self._epochs = epochs
        self._lookups = Lookups(bus, bucket_stream(CHECKPOINTS), filters_max=LAST_SUBJECTS_MAX, spawn=spawn)

    async def of(self, keys: Iterable[ChannelKey]) -> dict[ChannelKey, Checkpoint]:
        """Those of the channels that have one in the present epoch; without the bucket nobody has.

        Who has none reads a longer tail.
        """
        partitions = {key: partition_of(key, self._partitions) for key in keys}
        subjects = {
            kv_subject(CHECKPOINTS, checkpoint_key(where, key)): key for key, where in partitions.items()
        }
        try:
            stored = await self._lookups.newest(list(subjects))
        except (Unavailable, BusError) as error:
            _log.warning("checkpoints.missing", error=error.message)
            return {}
        found: dict[ChannelKey, Checkpoint] = {}
        for value in stored:
            key = subjects[value.subject]
            try:
                checkpoint = Checkpoint.model_validate_json(value.body)
            except ValidationError:
                _log.warning("checkpoints.unreadable", subject=value.subject)
                continue
            if checkpoint.counts_in(self._epochs.of(partitions[key])):
                found[key] = checkpoint
        return found
