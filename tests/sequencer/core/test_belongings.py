"""The directory's entries follow from the fold, and say the same as the channel's state."""

from __future__ import annotations

from hypothesis import given
from msgspec.structs import replace

from sequencer.core.belongings import Entry, all_entries, entries
from sequencer.core.ledger import Ledger
from shared import events as e
from shared.envelope import StoredMessage
from shared.ids import UserId
from shared.records import Belonging, PublicChannel
from shared.subjects import channel_subject, directory_key, public_directory_key
from tests.support.logs import CHANNELS, PARTITION, PARTITIONS, USERS, command, logs, stream

ONE = CHANNELS[0]
SUBJECT = channel_subject(PARTITION, ONE)
ANN, BO, CY = USERS
MADE = e.ChannelCreated(id=command(1), author=ANN, channel_kind="public", name="one")


def after(*events: e.KnownEvent | bytes) -> list[Entry]:
    """The entries of the last event."""
    ledger = Ledger(PARTITION, PARTITIONS)
    bodies = [event if isinstance(event, bytes) else e.encode(event) for event in events]
    return entries(ledger.fold(stream((SUBJECT, body) for body in bodies))[-1])


def belonging(found: list[Entry], user: UserId) -> Belonging:
    (record,) = [entry.record for entry in found if entry.user == user]
    assert isinstance(record, Belonging)
    return record


def public(found: list[Entry]) -> PublicChannel:
    (record,) = [entry.record for entry in found if entry.user is None]
    assert isinstance(record, PublicChannel)
    return record


@given(logs(max_size=60))
def test_the_newest_entries_say_what_the_states_say(log: list[StoredMessage]) -> None:
    """Entries applied in order leave exactly the members and public channels of the final states."""
    ledger = Ledger(PARTITION, PARTITIONS)
    written: dict[str, Entry] = {}
    for change in ledger.fold(log):
        for entry in entries(change):
            before = written.get(entry.key)
            assert before is None or before.record.stream_seq < entry.record.stream_seq
            written[entry.key] = entry
    roles = {
        (entry.channel, entry.user): entry.record.role
        for entry in written.values()
        if isinstance(entry.record, Belonging) and entry.record.member
    }
    shown = {entry.channel: entry.record for entry in written.values() if entry.user is None}
    states = {key: checkpoint.state for key, checkpoint in ledger.checkpoints() if checkpoint.state}
    assert roles == {
        (key, user): role for key, state in states.items() for user, role in state.members.items()
    }
    assert set(shown) == {key for key, state in states.items() if state.kind == "public"}
    for key, record in shown.items():
        state = states[key]
        assert isinstance(record, PublicChannel)
        assert (record.name, record.topic, record.archived) == (state.name, state.topic, state.archived)
        assert record.members == len(state.members)


@given(logs(max_size=60))
def test_a_rebuilt_directory_says_the_same(log: list[StoredMessage]) -> None:
    """Entries made from the states alone agree with those made event by event, absent members aside."""
    ledger = Ledger(PARTITION, PARTITIONS)
    written = {entry.key: entry for change in ledger.fold(log) for entry in entries(change)}
    rebuilt = {entry.key: entry for key, c in ledger.checkpoints() for entry in all_entries(key, c)}
    present = {
        key
        for key, entry in written.items()
        if not (isinstance(entry.record, Belonging) and not entry.record.member)
    }
    assert set(rebuilt) == present
    position = {"seq", "stream_seq"}
    for key, entry in rebuilt.items():
        assert entry.record.model_dump(exclude=position) == written[key].record.model_dump(exclude=position)
        assert entry.record.stream_seq >= written[key].record.stream_seq


def test_creation_lists_the_members_and_the_channel() -> None:
    """A public channel's creation makes its author and first members belong, and shows it in lists."""
    found = after(replace(MADE, members=(BO,)))
    assert {entry.key for entry in found} == {
        directory_key(ONE.workspace, ANN, ONE.channel),
        directory_key(ONE.workspace, BO, ONE.channel),
        public_directory_key(ONE.workspace, ONE.channel),
    }
    assert (belonging(found, ANN).role, belonging(found, BO).role) == ("admin", "member")
    assert public(found).members == 2


def test_a_direct_channel_is_its_members_alone() -> None:
    """A direct channel is in no list, and its creator belongs only as one of its members."""
    found = after(replace(MADE, channel_kind="direct", members=(BO, CY)))
    assert [entry.user for entry in found] == [BO, CY]


def test_join_leave_and_kick_change_one_belonging() -> None:
    """Each says who, what, and at which event; the list shows the new number of members."""
    join, leave = e.MemberJoined(id=command(2), author=BO), e.MemberLeft(id=command(3), author=BO)
    kick = e.MemberRemoved(id=command(4), author=ANN, user=BO)
    joined, left, kicked = after(MADE, join), after(MADE, join, leave), after(MADE, join, kick)
    assert (belonging(joined, BO).member, belonging(joined, BO).seq, public(joined).members) == (True, 2, 2)
    assert (belonging(left, BO).member, belonging(left, BO).seq, public(left).members) == (False, 3, 1)
    assert (belonging(kicked, BO).member, belonging(kicked, BO).seq) == (False, 3)
    assert len(kicked) == 2


def test_a_role_is_part_of_the_belonging() -> None:
    """A changed role rewrites the user's entry."""
    join = e.MemberJoined(id=command(2), author=BO)
    raise_ = e.MemberRoleChanged(id=command(3), author=ANN, user=BO, role="admin")
    assert belonging(after(MADE, join, raise_), BO).role == "admin"


def test_description_changes_only_the_list() -> None:
    """Renaming concerns no user's belonging."""
    found = after(MADE, e.ChannelRenamed(id=command(2), author=ANN, name="two"))
    assert [entry.user for entry in found] == [None]
    assert public(found).name == "two"


def test_void_events_and_messages_change_nothing() -> None:
    """What is void at its position, unreadable, or only said leaves the directory alone."""
    assert after(MADE, e.MemberRemoved(id=command(2), author=CY, user=ANN)) == []
    assert after(MADE, b"garbage") == []
    assert after(e.MemberJoined(id=command(2), author=BO)) == []
    assert after(MADE, e.MessagePosted(id=command(2), author=ANN, text="hi")) == []
