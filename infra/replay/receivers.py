"""The receivers: members of some channels each, who verify everything that they are given."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Mapping, Sequence

from infra.replay.rule import Rule
from infra.replay.senders import receiver_name
from shared.client import ChannelEvent, Client, Update, Verifier
from shared.clock import parse_rfc3339
from shared.ids import Seq
from shared.retry import Deadline

FROM_BEGINNING_MAX = 1000
"""A channel whose head is at most this when a receiver opens it is followed from seq 0."""

SAMPLE_EVERY = 32
_POLL_S = 0.05


class Receiver:
    """One client with its verifier. Enter it like a client."""

    def __init__(self, number: int, rule: Rule, urls: Sequence[str], token: str) -> None:
        self.verifier = Verifier(receiver_name(number))
        self.channels = frozenset(rule.channel_name(channel) for channel in rule.memberships(number))
        self.events = 0
        self.delivery_s = array("f")
        self.client = Client(urls, token, on_update=self._take, start=_start, name="parley-replay-receiver")

    def behind(self, heads: Mapping[str, int]) -> list[str]:
        """The channels that are not opened yet, or not seen up to `heads`."""
        seen = self.verifier.channels
        return [c for c in self.channels if c not in seen or seen[c].last < heads.get(c, 0)]

    def _take(self, update: Update) -> None:
        if isinstance(update, ChannelEvent):
            self.events += 1
            if self.events % SAMPLE_EVERY == 0:
                self.delivery_s.append(time.time() - parse_rfc3339(update.ts) / 1e6)
        self.verifier.record(update)


def _start(head: Seq) -> Seq:
    return Seq(0) if head <= FROM_BEGINNING_MAX else head


async def until_seen(
    receivers: Sequence[Receiver], heads: Mapping[str, int], wait_s: float, report: Callable[[int, int], None]
) -> int:
    """Wait until every receiver has seen its channels up to `heads`; how many have not in time.

    `report` is told how many are behind, out of how many.
    """
    deadline = Deadline.after(wait_s)
    waiting = list(receivers)
    while waiting := [receiver for receiver in waiting if receiver.behind(heads)]:
        if deadline.passed:
            break
        report(len(waiting), len(receivers))
        await asyncio.sleep(_POLL_S)
    return len(waiting)
