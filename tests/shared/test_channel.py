"""The channel fold: every kind, by every role, in every kind of channel, open and archived."""

from __future__ import annotations

import itertools
import json

import pytest
from msgspec.structs import replace

from shared import channel as c
from shared import events as e
from shared.ids import UserId
from tests.support.events import KINDS, example

ALICE, BOB, CAROL, EVE = (UserId(name) for name in ("alice", "bob", "carol", "eve"))
"""Alice is an admin, Bob and Carol are members, Eve is nobody."""

CHANNEL_KINDS: tuple[e.ChannelKind, ...] = ("public", "private", "direct")
WHO = {"admin": ALICE, "member": BOB, "stranger": EVE}

ANYONE_OF_THE_MEMBERS = {"admin", "member"}
OPEN_TO = {
    "message.posted": ANYONE_OF_THE_MEMBERS,
    "message.edited": ANYONE_OF_THE_MEMBERS,
    "message.deleted": ANYONE_OF_THE_MEMBERS,
    "reaction.added": ANYONE_OF_THE_MEMBERS,
    "reaction.removed": ANYONE_OF_THE_MEMBERS,
    "pin.added": ANYONE_OF_THE_MEMBERS,
    "pin.removed": ANYONE_OF_THE_MEMBERS,
    "member.left": ANYONE_OF_THE_MEMBERS,
    "member.invited": ANYONE_OF_THE_MEMBERS,
    "member.joined": {"admin", "member", "stranger"},
    "member.removed": {"admin"},
    "member.role_changed": {"admin"},
    "channel.renamed": ANYONE_OF_THE_MEMBERS,
    "channel.topic_set": ANYONE_OF_THE_MEMBERS,
    "channel.archived": {"admin"},
    "channel.unarchived": {"admin"},
    "channel.retention_set": {"admin"},
    "messages.expired": set(),  # here messages are kept for ever
    "channel.created": set(),
    "message.erased": {"admin", "member", "stranger"},  # whoever the edge lets: an operator
    "user.erased": {"admin", "member", "stranger"},
}
"""Who may do what in an open public channel, about their own message."""


def state(kind: e.ChannelKind = "public", *, archived: bool = False) -> c.ChannelState:
    """A channel with Alice, Bob and Carol."""
    members: dict[UserId, e.Role] = {ALICE: "admin", BOB: "member", CAROL: "member"}
    return c.ChannelState(kind=kind, name="tea", created_by=ALICE, archived=archived, members=members)


def about(kind: type[e.KnownEvent], author: UserId, **fields: object) -> e.KnownEvent:
    """An event by `author` about Carol, or about a message of the author's own."""
    given = {"user": CAROL, "ref_author": author} | fields
    return example(kind, author, **{k: v for k, v in given.items() if k in kind.__struct_fields__})


def allowed(kind: type[e.KnownEvent], role: str, channel: e.ChannelKind, *, archived: bool) -> bool:
    """The rules as a table, written independently of the fold."""
    name = kind.kind
    if name in {"message.erased", "user.erased"}:
        return True
    if archived and name not in {
        "channel.unarchived",
        "channel.retention_set",
        "member.left",
        "member.removed",
    }:
        return False
    if channel == "direct" and name.startswith(("member.", "channel.")):
        return False
    if channel == "private" and name == "member.joined":
        return False
    if channel == "private" and name == "member.invited":
        return role == "admin"
    return role in OPEN_TO[name]


CASES = list(itertools.product(KINDS, WHO, CHANNEL_KINDS, (False, True)))


@pytest.mark.parametrize(("kind", "role", "channel", "archived"), CASES)
def test_the_log_decides_who_may_do_what(
    kind: type[e.KnownEvent], role: str, channel: e.ChannelKind, archived: bool
) -> None:
    """Every kind × role × channel kind × archived has the verdict of the table (P14)."""
    verdict = c.judge(state(channel, archived=archived), about(kind, WHO[role]))
    assert (verdict is None) == allowed(kind, role, channel, archived=archived), verdict


@pytest.mark.parametrize(("kind", "role", "channel", "archived"), CASES)
def test_a_void_event_changes_nothing(
    kind: type[e.KnownEvent], role: str, channel: e.ChannelKind, archived: bool
) -> None:
    """The state after a void event is the state before it, and the verdict comes with it."""
    before = state(channel, archived=archived)
    after, void = c.fold(before, about(kind, WHO[role]))
    assert void == c.judge(before, about(kind, WHO[role]))
    if void is not None:
        assert after is before
    assert c.apply(before, about(kind, WHO[role])) == after


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not e.ChannelCreated])
def test_nothing_happens_before_creation(kind: type[e.KnownEvent]) -> None:
    """Before `channel.created` there is no channel, whoever asks."""
    assert c.fold(None, about(kind, ALICE)) == (None, "no such channel")


@pytest.mark.parametrize("channel", CHANNEL_KINDS)
def test_creation_makes_the_first_members(channel: e.ChannelKind) -> None:
    """The creator is admin, the others are members; nobody is admin of a direct channel."""
    event = example(e.ChannelCreated, ALICE, channel_kind=channel, members=(ALICE, BOB), topic="tea")
    made, void = c.fold(None, event)
    assert void is None
    assert made is not None
    assert made.members == {ALICE: "member" if channel == "direct" else "admin", BOB: "member"}
    assert (made.kind, made.topic, made.created_by, made.messages) == (channel, "tea", ALICE, 0)
    assert c.judge(made, event) == "already created"


def test_a_removed_member_is_nobody() -> None:
    """From the removal on, everything that they sent is void, whatever it is (AT-39, AT-62)."""
    after = c.apply(state("private"), about(e.MemberRemoved, ALICE, user=BOB))
    assert after is not None
    assert BOB not in after.members
    for kind in set(KINDS) - {e.MessageErased, e.UserErased}:  # of which the edge decides
        assert c.judge(after, about(kind, BOB)) is not None, kind


def test_who_left_a_public_channel_may_come_back() -> None:
    """Leaving is not a ban; coming back does not bring the old role back."""
    left = c.apply(state(), about(e.MemberLeft, ALICE))
    assert left is not None
    assert ALICE not in left.members
    back = c.apply(left, about(e.MemberJoined, ALICE))
    assert back is not None
    assert back.members[ALICE] == "member"


def test_joining_or_being_invited_again_keeps_the_role() -> None:
    """A repeated join or invitation never changes what somebody is."""
    for event in (about(e.MemberJoined, ALICE), about(e.MemberInvited, BOB, user=ALICE, role="member")):
        assert c.apply(state(), event) == state()


def test_only_an_admin_makes_an_admin() -> None:
    """An invitation is no way round `member.role_changed`."""
    invitation = {"user": EVE, "role": "admin"}
    assert c.judge(state(), about(e.MemberInvited, BOB, **invitation)) == "only an admin may make an admin"
    made = c.apply(state(), about(e.MemberInvited, ALICE, **invitation))
    assert made is not None
    assert made.members[EVE] == "admin"


@pytest.mark.parametrize("kind", [e.MemberRemoved, e.MemberRoleChanged])
def test_only_a_member_can_be_removed_or_promoted(kind: type[e.KnownEvent]) -> None:
    """An event about somebody who is no member is void."""
    assert c.judge(state(), about(kind, ALICE, user=EVE)) == "no such member"


def test_another_persons_message_is_theirs() -> None:
    """Nobody edits another's message; an admin may delete it, a member may not."""
    assert c.judge(state(), about(e.MessageEdited, ALICE, ref_author=BOB)) == "only the author may edit"
    assert c.judge(state(), about(e.MessageDeleted, ALICE, ref_author=BOB)) is None
    assert c.judge(state(), about(e.MessageDeleted, BOB, ref_author=ALICE)) is not None
    assert c.judge(state("direct"), about(e.MessageDeleted, BOB, ref_author=CAROL)) is not None


EFFECTS: list[tuple[type[e.KnownEvent], dict[str, object], dict[str, object]]] = [
    (e.MessagePosted, {}, {"messages": 1}),
    (e.MessageEdited, {}, {}),
    (e.MessageDeleted, {}, {}),
    (e.MessageErased, {}, {}),
    (e.UserErased, {}, {}),
    (e.ReactionAdded, {}, {}),
    (e.ReactionRemoved, {}, {}),
    (e.ChannelRenamed, {"name": "coffee"}, {"name": "coffee"}),
    (e.ChannelTopicSet, {"topic": "beans"}, {"topic": "beans"}),
    (e.ChannelArchived, {}, {"archived": True}),
    (e.PinAdded, {"ref": 5}, {"pins": (5,)}),
    (e.PinRemoved, {"ref": 5}, {"pins": ()}),
    (e.MemberRoleChanged, {"user": BOB, "role": "admin"},
     {"members": {ALICE: "admin", BOB: "admin", CAROL: "member"}}),
    (e.MemberRemoved, {"user": CAROL}, {"members": {ALICE: "admin", BOB: "member"}}),
    (e.MemberLeft, {}, {"members": {BOB: "member", CAROL: "member"}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "changed"), EFFECTS)
def test_each_kind_changes_what_it_says(
    kind: type[e.KnownEvent], fields: dict[str, object], changed: dict[str, object]
) -> None:
    """An event by an admin changes exactly these fields of the state."""
    after = c.apply(state(), about(kind, ALICE, **fields))
    assert after is not None
    expected = replace(state(), **changed, members_bytes=after.members_bytes)
    assert after == expected


def test_unarchiving_opens_the_channel() -> None:
    """An archived channel takes messages again after `channel.unarchived`."""
    opened = c.apply(state(archived=True), about(e.ChannelUnarchived, ALICE))
    assert opened == state()


def test_a_pin_counts_once() -> None:
    """Pins keep their order and are a set; one that is not there can be removed."""
    pinned = state()
    for ref in (5, 3, 5):
        pinned = c.apply(pinned, about(e.PinAdded, BOB, ref=ref)) or pinned
    assert pinned.pins == (5, 3)
    assert c.apply(pinned, about(e.PinRemoved, BOB, ref=9)) == pinned


def expiry(since: int, before: int) -> e.KnownEvent:
    """What the archiver says on a day."""
    return example(e.MessagesExpired, UserId("parley"), since=since, before=before)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("kind", CHANNEL_KINDS)
def test_what_expires_is_said_once_and_in_order(kind: e.ChannelKind, archived: bool) -> None:
    """Said again it is void, and so is what leaves numbers out; whoever is a member, whatever is archived."""
    kept = replace(state(kind, archived=archived), retention_days=7)
    first, void = c.fold(kept, expiry(1, 10))
    assert (first, void) == (replace(kept, expired_below=10), None)
    assert [c.judge(first, expiry(*span)) is None for span in ((1, 10), (1, 9), (11, 12), (10, 10))] == [
        False
    ] * 4
    assert [c.judge(first, expiry(*span)) for span in ((10, 11), (1, 11))] == [None, None]


def test_nothing_expires_once_messages_are_kept_for_ever() -> None:
    """Not even if it was said before that was known; what has expired stays so."""
    kept = replace(state(), retention_days=7, expired_below=10)
    lifted = c.apply(kept, example(e.ChannelRetentionSet, ALICE))
    assert lifted == replace(kept, retention_days=None)
    assert c.fold(lifted, expiry(10, 20)) == (lifted, "messages are kept for ever")


@pytest.mark.parametrize("kind", CHANNEL_KINDS)
def test_an_operator_sets_retention_anywhere(kind: e.ChannelKind) -> None:
    """In an archived or a direct channel, too, and without belonging to it."""
    event = example(e.ChannelRetentionSet, UserId("operator"), days=30, operator=True)
    before = state(kind, archived=True)
    assert c.fold(before, event) == (replace(before, retention_days=30), None)


def test_retention_is_part_of_a_checkpoint() -> None:
    """And a checkpoint from before there was any is read as one without."""
    kept = replace(state(), retention_days=7, expired_below=10)
    assert c.load_state(c.dump_state(kept)) == kept
    old = json.loads(c.dump_state(state()))
    del old["retention_days"], old["expired_below"]
    assert c.load_state(json.dumps(old)) == state()
