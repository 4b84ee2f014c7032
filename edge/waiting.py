"""An event with an old id on its way into the log, and whoever waits to hear where it stands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from edge import metrics
from edge.core import recording
from edge.core.recording import Recording
from edge.core.ring import Entry
from shared.errors import OutcomeUnknown, ParleyError, Unavailable
from shared.events import KnownEvent
from shared.ids import CommandId, UserId
from shared.records import KnownId

Name = tuple[UserId, CommandId]


@dataclass(slots=True, eq=False)
class Waiting:
    """An event on its way, with the trace that it belongs to.

    `stored`: only its number is waited for. `tried`: a batch with it was sent, and nobody knows what became
    of it; if the log holds it now, this command has put it there.
    """

    event: KnownEvent
    future: asyncio.Future[Recording]
    headers: dict[str, str]
    stored: bool = False
    tried: bool = False

    @property
    def name(self) -> Name:
        """What makes it the same as another."""
        return self.event.author, self.event.id

    def answer(self, found: Recording) -> None:
        """Tell where it stands."""
        metrics.commits("late", "duplicate" if found.duplicate else "recorded").inc()
        if not self.future.done():
            self.future.set_result(found)

    def answer_known(self, known: KnownId) -> None:
        """It stands in the log: put there by this command, if that was tried."""
        try:
            found = recording.of_known(known, self.event)
            self.answer(found._replace(duplicate=not self.tried))
        except ParleyError as error:
            self.fail(error)

    def answer_settled(self, entry: Entry, *, duplicate: bool) -> None:
        """Our own feed has it there, if it counts the log that took it."""
        try:
            recording.check_same_log(entry, self.event)
            self.answer(recording.of_entry(entry, duplicate=duplicate))
        except ParleyError as error:
            self.fail(error)

    def fail(self, error: ParleyError) -> None:
        """Tell what went wrong, unless it was answered already, or nobody waits any more.

        What was tried may be recorded, so `Unavailable` would say too much.
        """
        if self.tried and isinstance(error, Unavailable):
            error = OutcomeUnknown(error.message, retry_after_ms=error.retry_after_ms, limit=error.limit)
        if not self.future.done():
            metrics.commits("late", error.code).inc()
            self.future.set_exception(error)
