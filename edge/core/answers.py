"""The answers to a cursor (P7): everything was sent, a hole is named, or the cursor means nothing here."""

from __future__ import annotations

import functools
from typing import Literal

import orjson

from edge.core import codec
from edge.core.server_frames import Gap, Reset, Resumed
from edge.core.subscriptions import Replay
from shared.ids import ChannelId, Epoch, Seq

GapReason = Literal["too_far", "retention", "forbidden", "unavailable"]
FRAMES_KEPT = 4096
ResetReason = Literal["foreign_epoch", "ahead_of_head", "log_regressed"]


def complete(channel: ChannelId, replay: Replay, reached: Seq) -> bytes:
    """Everything from the cursor up to `reached` has been sent: the JSON of a `Resumed`.

    A crowd that comes back gets one for each cursor, at a quarter of what the model costs.
    """
    numbers = {"from": replay.after, "to": reached, "count": replay.count}
    return orjson.dumps({"type": "resumed", "channel": channel, "complete": True, **numbers})


@functools.lru_cache(maxsize=FRAMES_KEPT)
def nothing_missed(channel: ChannelId, head: Seq) -> bytes:
    """The whole frame for a cursor that stands at the head: the same for all of a crowd that comes back."""
    return codec.text_frame(complete(channel, Replay(head), head))


def hole(channel: ChannelId, replay: Replay, reached: Seq, to: Seq | None, reason: GapReason) -> Resumed:
    """Sent up to `reached`; what follows up to `to` is not sent (None: it may not be told how far)."""
    return Resumed(
        channel=channel,
        from_=replay.after,
        to=reached,
        complete=False,
        count=replay.count,
        gap=Gap(from_=reached, to=to, reason=reason),
    )


def reset(channel: ChannelId, reason: ResetReason, epoch: Epoch, head: Seq) -> Reset:
    """Forget the channel's events and go on from `head`."""
    return Reset(channel=channel, reason=reason, epoch=epoch, head=head)
