"""What a check has found: all is counted, the first are named."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMED_MAX = 100


@dataclass(slots=True, kw_only=True)
class Findings:
    """`clean` if there is none."""

    named: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return self.count == 0

    def add(self, what: str) -> None:
        """One more."""
        self.count += 1
        if len(self.named) < NAMED_MAX:
            self.named.append(what)
