"""What becomes of the records of an export, counted by reason: nothing is dropped in silence (AT-55)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Each record is recorded, skipped or merged, and only one of these: together they are `records`.

    A record is an entry of a day's list. What belongs to one (a reaction, an edit, a file) and what is none
    (a file that cannot be read, an invitation) is counted apart.
    """

    records: int = 0
    """Read from the export."""
    recorded: int = 0
    """The server holds them, now or from before."""
    skipped: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    """Copies of what another record says."""
    omitted: Counter[str] = field(default_factory=Counter)
    """Parts of records, and files, that are left out."""
    altered: Counter[str] = field(default_factory=Counter)
    """Imported, but not as it stands there."""

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return self.records == self.recorded + self.skipped.total() + self.merged.total()

    def skip(self, reason: str, count: int = 1) -> None:
        """A record that is not imported."""
        _add(self.skipped, reason, count)

    def merge(self, reason: str, count: int = 1) -> None:
        """A record that says what another one says."""
        _add(self.merged, reason, count)

    def omit(self, reason: str, count: int = 1) -> None:
        """Something other than a record that is not imported."""
        _add(self.omitted, reason, count)

    def alter(self, how: str, count: int = 1) -> None:
        """Imported with a change."""
        _add(self.altered, how, count)


def _add(counter: Counter[str], reason: str, count: int) -> None:
    if count > 0:
        counter[reason] += count
