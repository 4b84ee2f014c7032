"""What a socket tells its session."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Who wants to know what happens on a connection. All calls are synchronous, on the loop."""

    def heard(self) -> None:
        """Bytes arrived."""

    def stalled(self) -> None:
        """The kernel takes no more bytes."""

    def flowing(self) -> None:
        """The kernel has taken everything."""

    def over(self) -> None:
        """The conversation is over, whoever ended it: no text comes any more. Once."""

    def lost(self) -> None:
        """The connection is gone; its descriptor may be somebody else's when this returns."""


class Deaf:
    """Whom nothing is worth hearing: before a session listens, and after it."""

    def heard(self) -> None: ...  # noqa: D102
    def stalled(self) -> None: ...  # noqa: D102
    def flowing(self) -> None: ...  # noqa: D102
    def over(self) -> None: ...  # noqa: D102
    def lost(self) -> None: ...  # noqa: D102


DEAF = Deaf()
