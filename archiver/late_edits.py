"""Erases edits that were recorded in the moment in which their message was erased, or expired.

An edge that knows of an erasure refuses edits of what it names. One that was on its way stands behind it in
the log, and an erasure names nothing behind itself. So the message is erased once more (`message.erased`): an
event like any other, whose way is that of all erasures.
"""

from __future__ import annotations

import asyncio

import structlog

from archiver import metrics
from archiver.cached_erasures import LateEdit
from archiver.partition import PartitionArchive
from archiver.retention import AUTHOR
from archiver.threads import Threads
from shared.archive_store import Reached
from shared.bus import Bus
from shared.events import MessageErased, encode
from shared.ids import derived_command_id
from shared.subjects import channel_subject, message_id

LOOK_EVERY_S = 5.0

_log = structlog.get_logger()


class LateEdits:
    """Of one partition."""

    def __init__(
        self, bus: Bus, archive: PartitionArchive, lookups: Threads, reached: Reached = lambda _: None
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._lookups = lookups
        self._reached = reached
        self._label = str(archive.partition)
        self._said: set[LateEdit] = set()
        """Those that the cache may name still, because what was said of them is not archived yet."""

    async def run(self) -> None:
        """Until it is cancelled; whatever fails is tried again."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  # the boundary of a task: it harms no archive
                _log.warning("late_edits.failed", partition=self._archive.partition, error=repr(error))
                metrics.LATE_EDIT_FAILURES.labels(self._label).inc()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Erase what was edited late. Raises `OutcomeUnknown` and `BusError`: it is found again."""
        late = set(await self._lookups.run(self._archive.cache.late_edits))
        self._said &= late
        for edit in sorted(late - self._said):
            await self._erase(edit)
            self._said.add(edit)

    async def _erase(self, edit: LateEdit) -> None:
        """The id follows from the edit: another archiver says the same."""
        key, author = edit.key, AUTHOR
        event = MessageErased(
            id=derived_command_id(edit.at_us // 1000, *key, str(edit.ref), str(edit.seq)),
            author=author,
            ref=edit.ref,
        )
        self._reached("late-edit-due")
        await self._bus.commit(
            channel_subject(self._archive.partition, key),
            encode(event),
            msg_id=message_id(key, author, event.id),
        )
        self._reached("late-edit-said")
        metrics.LATE_EDITS.labels(self._label).inc()
        _log.info("late_edit.erased", partition=self._archive.partition)
