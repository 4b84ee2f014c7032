"""The state of a session's channels, without I/O: which events to pass on, hold back, drop or ask for.

One rule decides (P19): an event whose seq is the last one plus one is passed on. A lower one is a
duplicate and dropped. A higher one is held, and the server is asked to `resume` from the last one. The
server's heads (`ping`, P8) reveal what was lost without a trace. A `gap` or `reset` is passed on to the
caller, never skipped over.

    unknown ──announced──▶ following ──hole──▶ asked ──resumed──▶ following
                              ▲                  │
                              └─── lost connection: hello with cursors ───┘   (reset: new epoch, new start)

The caller says in `room` how many events it can take. Without room events are let go *without moving the
cursor*, and asked for again when there is room (`refill`): a slow consumer costs no memory and no event.

Frames go in through `event` and `receive`; `updates` and `take_frames` are what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from shared.client import wire
from shared.client.updates import ChannelEvent, Gap, Membership, Opened, Reset, Resumed, Update
from shared.ids import ChannelId, Cursor, Epoch, Seq

HELD_MAX = 512
"""Events of one channel that wait for a hole to be filled; beyond it they come again with the replay."""

CURSORS_MAX = 500
"""Cursors in one frame."""

ROOM_UNBOUNDED = 1 << 62

Start = Literal["head", "beginning"] | Callable[[Seq], Seq]
"""Where a new channel is followed from: a function is given the head and returns the seq to begin after."""

Frame = dict[str, object]


class _Track:
    """One channel: the last event passed on, and what is being waited for."""

    __slots__ = ("asked", "asked_after", "ended", "epoch", "head", "held", "seen", "seq", "starved")

    def __init__(self, epoch: Epoch, seq: Seq) -> None:
        self.epoch = epoch
        self.seq = seq
        self.head = seq
        """The head that the newest ping named while we were below it."""
        self.seen = seq
        """`seq` at that ping: no progress since then means that nothing is on its way."""
        self.held: dict[int, wire.EventFrame] = {}
        self.asked = False
        self.asked_after = seq
        self.starved = False
        self.ended = False


class Session:
    """The channels of one user as one client sees them, across reconnects."""

    def __init__(self, *, start: Start = "head", cursors: Mapping[ChannelId, Cursor] | None = None) -> None:
        self._start = start
        self.room = ROOM_UNBOUNDED
        self.updates: list[Update] = []
        self.duplicates = 0
        self._tracks = {channel: _Track(c.epoch, c.seq) for channel, c in (cursors or {}).items()}
        self._early: dict[ChannelId, dict[int, wire.EventFrame]] = {}
        self._asking: dict[ChannelId, None] = {}

    # ------------------------------------------------------------ what the shell asks

    def cursors(self) -> dict[ChannelId, Cursor]:
        """Where a later client may go on: the last event of each channel that was passed on."""
        return {c: Cursor(t.epoch, t.seq) for c, t in self._tracks.items() if not t.ended}

    def hello_cursors(self) -> dict[ChannelId, wire.CursorFrame]:
        """The cursors for `hello`; those beyond the limit of a frame follow through `take_frames`."""
        self._early.clear()
        self._asking.clear()
        for channel, track in self._tracks.items():
            track.held.clear()
            track.asked = False
            if not track.ended and not track.starved:
                self._ask(channel, track)
        now = list(self._asking)[:CURSORS_MAX]
        for channel in now:
            del self._asking[channel]
        return {channel: _cursor(self._tracks[channel]) for channel in now}

    @property
    def asking(self) -> bool:
        """Whether `take_frames` has something."""
        return bool(self._asking)

    def take_frames(self) -> list[Frame]:
        """`resume` frames for the channels that have to be asked for."""
        frames: list[Frame] = []
        while self._asking:
            some = list(self._asking)[:CURSORS_MAX]
            for channel in some:
                del self._asking[channel]
            frames.append({"type": "resume", "cursors": {c: _cursor(self._tracks[c]) for c in some}})
        return frames

    def refill(self, room: int) -> None:
        """The caller can take `room` events from now on; what was let go is asked for."""
        self.room = room
        if room <= 0:
            return
        for channel, track in self._tracks.items():
            if track.starved:
                track.starved = False
                self._ask(channel, track)

    def follow_from(self, channel: ChannelId, after: Seq) -> None:
        """Go back (or forward) to `after` in a channel that is followed: what is above it comes again."""
        track = self._tracks[channel]
        track.seq = after
        track.held.clear()
        track.asked = False
        self.updates.append(Opened(channel, track.epoch, after))
        self._ask(channel, track)

    # ------------------------------------------------------------ what the server says

    def event(self, frame: wire.EventFrame) -> None:
        """An event arrived."""
        channel = frame["channel"]
        track = self._tracks.get(channel)
        if track is None:
            if channel in self._early or len(self._early) < CURSORS_MAX:
                _hold(self._early.setdefault(channel, {}), frame)
            return
        seq = frame["seq"]
        if seq == track.seq + 1 and self.room > 0:
            self._pass_on(track, frame)
            if track.held:
                self._drain(channel, track)
        elif seq <= track.seq:
            self.duplicates += 1
        else:
            self._out_of_turn(channel, track, frame)

    def welcome(self, channels: Iterable[wire.ChannelInfo]) -> None:
        """The channels of `welcome` or of a further page."""
        for info in channels:
            self._announce(info)

    def membership(self, frame: wire.ChannelFrame) -> None:
        """The user became a member of a channel, or is none any more."""
        channel = frame["channel"]["id"]
        if frame["member"]:
            self.updates.append(Membership(channel, frame["channel"]))
            self._announce(frame["channel"])
            return
        self.updates.append(Membership(channel, None))
        self._early.pop(channel, None)
        track = self._tracks.get(channel)
        if track is not None:
            track.ended = True
            track.held.clear()
            self._asking.pop(channel, None)

    def resumed(self, frame: wire.ResumedFrame) -> None:
        """A replay ended, complete or with a gap that the server names."""
        channel = frame["channel"]
        track = self._tracks.get(channel)
        if track is None:
            return
        track.asked = False
        gap = frame.get("gap")
        if gap is not None:
            self._skip(channel, track, gap)
        self.updates.append(Resumed(channel, track.seq, frame["count"], frame["complete"]))
        if track.held:
            self._drain(channel, track)
        behind = track.seq < frame["to"] and not track.ended
        if behind and track.seq > track.asked_after and not track.starved:
            self._ask(channel, track)  # some of the replay did not fit into `held`

    def reset(self, frame: wire.ResetFrame) -> None:
        """The cursor is foreign: begin again where the server says."""
        channel = frame["channel"]
        track = self._tracks.get(channel)
        if track is None:
            return
        fresh = _Track(frame["epoch"], self._begin(frame["head"]))
        self._tracks[channel] = fresh
        self._asking.pop(channel, None)
        self.updates.append(Reset(channel, frame["reason"], fresh.epoch, fresh.seq))
        if fresh.seq < frame["head"]:
            self._ask(channel, fresh)

    def ping(self, heads: Mapping[ChannelId, Seq]) -> None:
        """Compare with the server's heads (P8).

        A head above ours is asked for, unless events came since the last ping: then they are on their
        way, and asking at once would make the server send everything twice to a slow reader.
        """
        for channel, head in heads.items():
            track = self._tracks.get(channel)
            if track is None or track.ended or track.starved or head <= track.seq:
                continue
            if track.seq == track.seen or track.seq < track.head:
                track.asked = False
                self._ask(channel, track)
            track.seen = track.seq
            track.head = head

    # ------------------------------------------------------------ one channel

    def _announce(self, info: wire.ChannelInfo) -> None:
        channel = info["id"]
        track = self._tracks.get(channel)
        if track is not None:
            if track.ended:
                track.ended = track.asked = False
                self._ask(channel, track)
            return
        begin = self._begin(info["head"])
        track = self._tracks[channel] = _Track(info["epoch"], begin)
        self.updates.append(Opened(channel, track.epoch, begin))
        track.held = self._early.pop(channel, {})
        if begin < info["head"]:
            self._ask(channel, track)
        if track.held:
            self._drain(channel, track)

    def _begin(self, head: Seq) -> Seq:
        if callable(self._start):
            return self._start(head)
        return head if self._start == "head" else Seq(0)

    def _pass_on(self, track: _Track, frame: wire.EventFrame) -> None:
        track.seq = frame["seq"]
        self.room -= 1
        self.updates.append(ChannelEvent(frame))

    def _drain(self, channel: ChannelId, track: _Track) -> None:
        """Pass on what was held and follows now; ask again if a hole is left."""
        held = track.held
        while self.room > 0 and (frame := held.pop(track.seq + 1, None)) is not None:
            self._pass_on(track, frame)
        for seq in [seq for seq in held if seq <= track.seq]:
            del held[seq]
            self.duplicates += 1
        if held:
            self._out_of_turn(channel, track, held[min(held)])

    def _out_of_turn(self, channel: ChannelId, track: _Track, frame: wire.EventFrame) -> None:
        if track.ended:
            return
        if self.room <= 0 or track.starved:
            track.starved = True
            track.held.clear()
            return
        _hold(track.held, frame)
        self._ask(channel, track)

    def _ask(self, channel: ChannelId, track: _Track) -> None:
        if track.asked:
            return
        track.asked = True
        track.asked_after = track.seq
        self._asking[channel] = None

    def _skip(self, channel: ChannelId, track: _Track, gap: wire.GapFrame) -> None:
        upto = gap["to"]
        self.updates.append(Gap(channel, gap["from"], upto, gap["reason"]))
        if upto is None:
            track.ended = True
            track.held.clear()
        else:
            track.seq = max(track.seq, upto)


def _cursor(track: _Track) -> wire.CursorFrame:
    return {"epoch": track.epoch, "seq": track.seq}


def _hold(held: dict[int, wire.EventFrame], frame: wire.EventFrame) -> None:
    if len(held) < HELD_MAX:
        held[frame["seq"]] = frame
