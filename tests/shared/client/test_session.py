"""The session passes on every event once, in order, whatever the network does, and never skips silently."""

from __future__ import annotations

from typing import cast

from shared.client import wire
from shared.client.session import CURSORS_MAX, HELD_MAX, Session
from shared.client.updates import Gap, Membership, Opened, Reset, Resumed
from shared.ids import ChannelId, Cursor, Epoch, Seq
from tests.support.client_frames import E1, C, asked, event, info, resumed, seqs, taken


def following(head: int = 5) -> Session:
    session = Session()
    session.welcome([info(head)])
    taken(session)
    return session


def test_next_event_is_passed_on() -> None:
    """last + 1 is passed on, and the cursor moves with it."""
    session = following(5)
    session.event(event(6))
    assert seqs(taken(session)) == [6]
    assert session.cursors() == {C: Cursor(E1, Seq(6))}


def test_duplicate_is_dropped() -> None:
    """A seq at or below the last one is passed on once only (AT-17)."""
    session = following(5)
    session.event(event(6))
    session.event(event(6))
    session.event(event(3))
    assert seqs(taken(session)) == [6]
    assert session.duplicates == 2


def test_hole_is_held_and_asked_for_once() -> None:
    """Above last + 1: hold it, ask once, pass on in order when the hole is filled (AT-03)."""
    session = following(5)
    session.event(event(8))
    session.event(event(9))
    assert seqs(taken(session)) == []
    assert asked(session) == {C: 5}
    assert asked(session) == {}
    session.event(event(6))
    session.event(event(7))
    assert seqs(taken(session)) == [6, 7, 8, 9]


def test_ping_with_a_higher_head_asks() -> None:
    """A head above ours in a silent channel is asked for (P8, AT-02)."""
    session = following(5)
    session.ping({C: Seq(7)})
    assert asked(session) == {C: 5}


def test_ping_waits_for_what_is_on_its_way() -> None:
    """While events come, a ping does not make the server send everything twice; a stall does ask."""
    session = following(5)
    session.event(event(6))
    session.ping({C: Seq(9)})
    assert asked(session) == {}
    session.event(event(7))
    session.ping({C: Seq(9)})
    assert asked(session) == {C: 7}


def test_lost_resume_is_asked_again_at_the_next_ping() -> None:
    """A resume whose answer never came does not silence the channel for ever."""
    session = following(5)
    session.event(event(8))
    assert asked(session) == {C: 5}
    session.ping({C: Seq(8)})
    assert asked(session) == {C: 5}


def test_gap_is_surfaced_and_stepped_over() -> None:
    """What the server will not send is named to the caller, then the rest goes on (AT-20b)."""
    session = following(5)
    session.event(event(21))
    session.resumed(resumed(5, 5, 0, {"from": Seq(5), "to": Seq(20), "reason": "too_far"}))
    assert taken(session)[:1] == [Gap(C, Seq(5), Seq(20), "too_far")]
    assert session.cursors()[C].seq == 21


def test_gap_without_end_ends_the_channel() -> None:
    """A channel that is not ours any more is named, and never asked for again (P21)."""
    session = following(5)
    session.resumed(resumed(5, 5, 0, {"from": Seq(5), "to": None, "reason": "forbidden"}))
    assert Gap(C, Seq(5), None, "forbidden") in taken(session)
    session.ping({C: Seq(9)})
    assert session.cursors() == {}
    assert session.hello_cursors() == {}


def test_reset_is_surfaced_and_starts_again() -> None:
    """A foreign epoch: the caller hears it, and events go on from the server's head."""
    session = following(5)
    session.reset({"channel": C, "reason": "foreign_epoch", "epoch": Epoch("e2"), "head": Seq(2)})
    assert taken(session) == [Reset(C, "foreign_epoch", Epoch("e2"), Seq(2))]
    session.event(event(3))
    assert seqs(taken(session)) == [3]
    assert session.cursors() == {C: Cursor(Epoch("e2"), Seq(3))}


def test_reset_of_a_client_that_wants_everything_asks_from_the_beginning() -> None:
    """`start="beginning"` holds for the new epoch too."""
    session = Session(start="beginning")
    session.welcome([info(0)])
    session.reset({"channel": C, "reason": "foreign_epoch", "epoch": Epoch("e2"), "head": Seq(2)})
    assert asked(session) == {C: 0}


def test_reconnect_carries_every_cursor() -> None:
    """hello names up to 500 cursors, resume frames the rest; nothing is asked twice (P7)."""
    session = Session()
    names = [ChannelId(f"c{n}") for n in range(CURSORS_MAX + 7)]
    session.welcome([info(1, name) for name in names])
    hello = session.hello_cursors()
    assert len(hello) == CURSORS_MAX
    assert set(hello) | set(asked(session)) == set(names)


def test_saved_cursors_are_used() -> None:
    """A client that was away for a day starts where it left off, not at the head."""
    session = Session(cursors={C: Cursor(E1, Seq(3))})
    assert session.hello_cursors() == {C: {"epoch": E1, "seq": 3}}
    session.welcome([info(9)])
    session.event(event(4))
    assert seqs(taken(session)) == [4]


def test_events_before_their_announcement_are_kept() -> None:
    """An event that overtakes the frame which announces its channel is not lost."""
    session = Session()
    session.event(event(4))
    session.membership({"member": True, "channel": info(3)})
    updates = taken(session)
    assert updates[:2] == [Membership(C, info(3)), Opened(C, E1, Seq(3))]
    assert seqs(updates) == [4]


def test_end_of_membership() -> None:
    """After `member: false` the channel is neither resumed nor asked for."""
    session = following(5)
    session.membership({"member": False, "channel": cast(wire.ChannelInfo, {"id": C})})
    assert taken(session) == [Membership(C, None)]
    session.event(event(9))
    assert asked(session) == {}
    assert session.hello_cursors() == {}


def test_membership_again_resumes_from_the_old_cursor() -> None:
    """Invited again: what happened in between is asked for, not skipped."""
    session = following(5)
    session.membership({"member": False, "channel": cast(wire.ChannelInfo, {"id": C})})
    session.membership({"member": True, "channel": info(8)})
    assert asked(session) == {C: 5}


def test_without_room_nothing_is_lost() -> None:
    """A full caller lets events go, keeps its cursor, and asks again when it has room (AT-66)."""
    session = following(5)
    session.room = 1
    for seq in (6, 7, 8):
        session.event(event(seq))
    session.ping({C: Seq(8)})
    assert seqs(taken(session)) == [6]
    assert asked(session) == {}
    session.refill(10)
    assert asked(session) == {C: 6}
    session.event(event(7))
    session.event(event(8))
    assert seqs(taken(session)) == [7, 8]


def test_held_events_are_bounded() -> None:
    """A hole in front of a flood holds a bounded number; the rest comes with the replay."""
    session = following(0)
    for seq in range(2, 2 * HELD_MAX):
        session.event(event(seq))
    assert asked(session) == {C: 0}
    session.event(event(1))
    assert seqs(taken(session)) == list(range(1, HELD_MAX + 2))


def test_follow_from_goes_back() -> None:
    """A caller may ask for a channel from any seq on."""
    session = following(5)
    session.follow_from(C, Seq(0))
    assert taken(session) == [Opened(C, E1, Seq(0))]
    assert asked(session) == {C: 0}


def test_resumed_is_surfaced_with_its_count() -> None:
    """The caller hears whether a replay brought anything (AT-14)."""
    session = following(5)
    session.event(event(6))
    session.resumed(resumed(5, 6, 1))
    assert taken(session)[-1] == Resumed(C, Seq(6), 1, complete=True)
