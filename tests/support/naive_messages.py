"""Messages the slow way: a fold of the whole log, one event after the other; and logs that try everything."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archiver.core.messages import EMOJIS_MAX, USERS_MAX
from shared import events as e
from shared.events import Recorded
from shared.ids import Seq, UserId, new_command_id
from shared.message_records import Deletion, Edit, Message, Reaction, Replies
from tests.support.events import NOW_MS, made

USERS = [UserId(name) for name in ("alice", "bob", "zoe", "Größe 🦊")]
OLD = "2026-01-01T00:00:00.000Z"
STRANGER = UserId("mallory")
EMOJIS = ["👍", ":tada:", "é"]


@dataclass
class _Naive:
    recorded: Recorded
    text: str
    edit: Edit | None = None
    deleted: Deletion | None = None
    edit_author: UserId | None = None
    is_erased: bool = False
    is_edit_erased: bool = False
    reactions: dict[str, set[UserId]] = field(default_factory=dict)


def folded(log: Iterable[Recorded]) -> dict[Seq, Message]:
    """What every message is after these events."""
    found: dict[Seq, _Naive] = {}
    for at in log:
        if at.void is None:
            _apply(found, at)
    return {seq: _message(naive, found) for seq, naive in found.items()}


def _forget(found: dict[Seq, _Naive], event: e.Event) -> None:
    if isinstance(event, e.UserErased):
        for naive in found.values():
            naive.is_erased |= naive.recorded.event.author == event.user
            naive.is_edit_erased |= naive.edit_author == event.user
    elif isinstance(event, e.MessagesExpired):
        for seq, naive in found.items():
            naive.is_erased |= seq < event.before


def _apply(found: dict[Seq, _Naive], at: Recorded) -> None:
    event = at.event
    if isinstance(event, e.MessagePosted):
        found[at.seq] = _Naive(at, event.text)
        return
    _forget(found, event)
    naive = found.get(event.ref) if hasattr(event, "ref") else None  # type: ignore[assignment]
    match event:
        case _ if naive is None:
            return
        case e.MessageEdited():
            naive.text, naive.edit = event.text, Edit(seq=at.seq, at_us=at.at_us)
            naive.edit_author, naive.is_edit_erased = event.author, False
        case e.MessageDeleted():
            naive.deleted = naive.deleted or Deletion(seq=at.seq, at_us=at.at_us, by=event.author)
        case e.MessageErased():
            naive.is_erased = True
        case e.ReactionAdded():
            naive.reactions.setdefault(event.emoji, set()).add(event.author)
        case e.ReactionRemoved():
            naive.reactions.get(event.emoji, set()).discard(event.author)


def _message(naive: _Naive, found: dict[Seq, _Naive]) -> Message:
    at, event = naive.recorded, naive.recorded.event
    assert isinstance(event, e.MessagePosted)
    replies = [
        seq for seq, other in found.items() if _answers(other) == at.seq < seq and other.deleted is None
    ]
    is_erased = naive.is_erased or (naive.is_edit_erased and naive.deleted is None)
    is_gone = is_erased or naive.deleted is not None
    standing = [(emoji, sorted(users)) for emoji, users in naive.reactions.items() if users]
    standing.sort(key=lambda one: (-len(one[1]), one[0]))
    return Message(
        seq=at.seq,
        at_us=at.at_us,
        id=event.id,
        author=event.author,
        text=None if is_gone else naive.text,
        thread=event.thread,
        imported=event.imported,
        edited=None if naive.deleted else naive.edit,
        deleted=naive.deleted,
        erased=is_erased,
        reactions=()
        if is_gone
        else tuple(
            Reaction(emoji=emoji, count=len(users), users=tuple(users[:USERS_MAX]))
            for emoji, users in standing[:EMOJIS_MAX]
        ),
        more_reactions=not is_gone and len(standing) > EMOJIS_MAX,
        replies=Replies(count=len(replies), last_seq=replies[-1]) if replies else None,
    )


def _answers(naive: _Naive) -> Seq | None:
    event = naive.recorded.event
    return event.thread if isinstance(event, e.MessagePosted) else None


def random_events(rng: random.Random, length: int, *, erasing: bool = False) -> Sequence[e.KnownEvent]:
    """A channel's log: everything that can be said of messages, also by who may not and of what is none."""
    people = {"author": USERS[0], "channel_kind": "public", "name": "tea", "members": USERS[1:]}
    log: list[e.KnownEvent] = [made(e.ChannelCreated, _headed(rng, people))]
    log += [_random_event(rng, seq, erasing=erasing) for seq in range(2, length + 1)]
    return log


def _random_event(rng: random.Random, seq: int, *, erasing: bool) -> e.KnownEvent:
    who = {"author": rng.choice([*USERS, *USERS, STRANGER])}
    ref = {"ref": rng.randint(max(1, seq - 12), seq + 1)}
    by = ref | {"ref_author": rng.choice([who["author"], USERS[1]])}
    imported = {"imported": {"by": "importer", "at": "2016-01-15T05:55:52Z"}} if rng.random() < 0.1 else {}
    reaction = ref | {"emoji": rng.choice(EMOJIS)}
    kinds: list[tuple[type[e.KnownEvent], dict[str, object], int]] = [
        (e.MessagePosted, {"text": f"text {seq} é"}, 6),
        (e.MessagePosted, {"text": f"answer {seq}", "thread": ref["ref"]}, 4),
        (e.MessageEdited, {"text": f"edited {seq}"} | by, 3),
        (e.MessageDeleted, by, 1),
        (e.ReactionAdded, reaction, 6),
        (e.ReactionRemoved, reaction, 3),
        (e.MemberJoined, {}, 1),
        (e.MessageErased, ref, int(erasing)),
        (e.UserErased, {"user": USERS[2]}, int(erasing)),
        (e.ChannelRetentionSet, {"days": 30, "operator": True}, int(erasing)),
        (e.MessagesExpired, {"since": 1, "before": ref["ref"], "older_than": OLD}, int(erasing)),
    ]
    kind, fields, _ = rng.choices(kinds, [weight for *_, weight in kinds])[0]
    return made(kind, _headed(rng, {**fields, **who, **imported}))


def _headed(rng: random.Random, fields: dict[str, object]) -> dict[str, object]:
    return {"id": new_command_id(NOW_MS + rng.randint(0, 10**6)), **fields}
