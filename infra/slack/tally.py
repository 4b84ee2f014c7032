"""What an import leaves out or changes, counted by reason: nothing is dropped in silence (AT-55)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Records that are not imported, and records that are imported otherwise than they stand there."""

    skipped: Counter[str] = field(default_factory=Counter)
    altered: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: str, count: int = 1) -> None:
        """Not imported."""
        if count > 0:
            self.skipped[reason] += count

    def alter(self, how: str, count: int = 1) -> None:
        """Imported, but not as it stands there."""
        if count > 0:
            self.altered[how] += count
