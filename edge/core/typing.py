"""Who types where: never stored, over after six seconds, quiet in very large channels (P16, AT-30).

An edge announces a user's typing at most once per `REPEAT_S` and channel, however often the client says it;
whoever receives an announcement shows it for `EXPIRY_S` at most. Nothing has to be sent to end it: a
message, leave or removal of that user ends it at every reader, and so does time. Pure: time is passed in.
"""

from __future__ import annotations

from shared.channel import ChannelState
from shared.ids import ChannelKey, UserId

EXPIRY_S = 6.0
REPEAT_S = 3.0
TYPISTS_MAX = 50_000
"""Announcements that an edge remembers; beyond that the expired ones are forgotten, then new ones dropped."""

ENDING = frozenset({"message.posted", "member.left", "member.removed"})


class Typists:
    """The users whose typing this edge has announced lately."""

    def __init__(self, *, members_max: int, typists_max: int = TYPISTS_MAX) -> None:
        self._members_max = members_max
        self._typists_max = typists_max
        self._announced: dict[tuple[ChannelKey, UserId], float] = {}

    def suppressed(self, state: ChannelState) -> bool:
        """Whether the channel is too large for typing to be shown."""
        return len(state.members) > self._members_max

    def announce(self, key: ChannelKey, user: UserId, now_s: float) -> bool:
        """Whether this typing is worth an announcement; remembers it if so."""
        if now_s - self._announced.get((key, user), -REPEAT_S) < REPEAT_S:
            return False
        if len(self._announced) >= self._typists_max:
            self._forget(now_s)
            if len(self._announced) >= self._typists_max:
                return False
        self._announced[(key, user)] = now_s
        return True

    def ended(self, key: ChannelKey, user: UserId) -> None:
        """The user said something, left or was removed: typing again is news."""
        self._announced.pop((key, user), None)

    def __len__(self) -> int:
        return len(self._announced)

    def _forget(self, now_s: float) -> None:
        self._announced = {who: at_s for who, at_s in self._announced.items() if now_s - at_s < EXPIRY_S}
