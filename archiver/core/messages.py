"""Messages as they are now: what the cache knows up to a position, and hot events beyond it, folded.

An edit counts until a newer one comes (P22); a deletion is for ever, and the first is the one that is told;
a reaction stands from its last addition on unless it was taken back; a reply counts until it is deleted. Void
events, and events that do not come after what they name, change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from archiver.core.hot import HotEvent
from archiver.core.hot_messages import Later, seqs_of
from shared.events import MessageDeleted, MessageEdited, ReactionAdded, ReactionRemoved
from shared.ids import Seq, UserId
from shared.message_records import Deletion, Edit, Reaction, Replies

EMOJIS_MAX = 50
USERS_MAX = 100
REACTIONS_BYTES_MAX = 64 * 1024
"""Of one message: so many emojis, so many users of each by name, and so many bytes of both."""


_Words = Mapping[str, Mapping[UserId, bool]]
"""For each emoji, whose reactions hot events have added (True) or taken back."""


class Past:
    """What is known of messages up to a position: here nothing, for where all that is asked is hot."""

    def edited(self, _: Seq) -> Edit | None:
        """The newest edit of a message."""
        return None

    def deleted(self, _: Seq) -> Deletion | None:
        """Its first deletion."""
        return None

    def counts(self, _: Seq) -> Mapping[str, int]:
        """How many users' reactions to it stand, by emoji."""
        return {}

    def standing(self, _seq: Seq, _emoji: str, _users: Collection[UserId]) -> int:
        """How many of these users' reactions to it stand."""
        return 0

    def users(self, _seq: Seq, _emoji: str, _limit: int) -> Sequence[UserId]:
        """Whose reactions to it stand: the first by name."""
        return ()

    def replies(self, _: Seq) -> int:
        """How many live replies it has."""
        return 0

    def newest_replies(self, _: Seq) -> Iterable[Seq]:
        """Its live replies, the newest first."""
        return ()

    def root(self, _: Seq) -> Seq | None:
        """What a live reply answers; None if it is none."""
        return None


class Told(NamedTuple):
    """What became of a message."""

    edited: Edit | None
    deleted: Deletion | None
    reactions: tuple[Reaction, ...]
    more_reactions: bool
    replies: Replies | None


def fold(seqs: Sequence[Seq], past: Past, later: Later) -> dict[Seq, Told]:
    """What became of these messages; `later` begins where `past` ends."""
    gone = {
        hot.recorded.event.ref for hot in later.deletions if isinstance(hot.recorded.event, MessageDeleted)
    }
    fewer = Counter(root for reply in gone if (root := past.root(reply)) is not None)
    return {
        seq: _told(seq, past, later.about.get(seq, ()), _replies(seq, past, later, gone, fewer[seq]))
        for seq in seqs
    }


def _told(seq: Seq, past: Past, events: Sequence[HotEvent], replies: Replies | None) -> Told:
    edited, deleted = past.edited(seq), past.deleted(seq)
    words: dict[str, dict[UserId, bool]] = {}
    for hot in events:
        at = hot.recorded
        match at.event:
            case MessageEdited():
                edited = Edit(seq=at.seq, at_us=at.at_us)
            case MessageDeleted(author=author):
                deleted = deleted or Deletion(seq=at.seq, at_us=at.at_us, by=author)
            case ReactionAdded(emoji=emoji, author=author):
                words.setdefault(emoji, {})[author] = True
            case ReactionRemoved(emoji=emoji, author=author):
                words.setdefault(emoji, {})[author] = False
    if deleted is not None:
        return Told(None, deleted, (), False, replies)
    return Told(edited, None, *_reactions(seq, past, words), replies)


def _reactions(seq: Seq, past: Past, words: _Words) -> tuple[tuple[Reaction, ...], bool]:
    counts = Counter(past.counts(seq))
    for emoji, said in words.items():
        counts[emoji] += sum(said.values()) - past.standing(seq, emoji, said)
    ranked = sorted((-count, emoji) for emoji, count in counts.items() if count > 0)
    shown: list[Reaction] = []
    size = 0
    for count, emoji in ranked[:EMOJIS_MAX]:
        size += len(emoji.encode())
        users: list[UserId] = []
        for user in _users(seq, emoji, past, words.get(emoji, {})):
            size += len(user.encode())
            if size > REACTIONS_BYTES_MAX:
                break
            users.append(user)
        shown.append(Reaction(emoji=emoji, count=-count, users=tuple(users)))
    return tuple(shown), len(ranked) > EMOJIS_MAX


def _users(seq: Seq, emoji: str, past: Past, said: Mapping[UserId, bool]) -> Sequence[UserId]:
    taken_back = sum(not is_standing for is_standing in said.values())
    before = past.users(seq, emoji, USERS_MAX + taken_back)
    users = {user for user in before if said.get(user, True)}
    users |= {user for user, is_standing in said.items() if is_standing}
    return sorted(users)[:USERS_MAX]


def _replies(root: Seq, past: Past, later: Later, gone: set[Seq], fewer: int) -> Replies | None:
    live = [seq for seq in seqs_of(later.replies.get(root, ())) if seq not in gone]
    count = past.replies(root) - fewer + len(live)
    if not count:
        return None
    last = live[-1] if live else next(seq for seq in past.newest_replies(root) if seq not in gone)
    return Replies(count=count, last_seq=last)
