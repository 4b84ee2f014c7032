"""Which messages a page holds, what each looks like, and where a page is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archiver.core.messages import Told
from archiver.core.page import fitting
from shared.events import MessageEdited, MessagePosted, Recorded
from shared.ids import SEQ_MAX, Seq
from shared.message_records import Message, MessagesPage, MessagesRequest
from shared.paging import around

LIMIT_MAX = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page's place among the messages: it is chosen from so many `below` the seq `point`, and from it on.

    Those are one more than it can take, so that it is known whether there are more.
    """

    limit: int
    point: int
    below: int
    above: int
    is_around: bool

    def choose(self, below: Sequence[Seq], above: Sequence[Seq]) -> Chosen:
        """The page, from the nearest messages on both sides of the point, each in ascending order."""
        both = [*below[-self.below :], *above[: self.above]]
        middle = min(len(below), self.below)
        if not both:
            return Chosen((), 0, more_before=False, more_after=False)
        if self.is_around:
            pivot = min(middle, len(both) - 1)
            first, last = around(pivot, self.limit, 0, len(both) - 1)
        elif self.above > 1:
            pivot, first, last = middle, middle, min(len(both), middle + self.limit) - 1
        else:
            pivot, first, last = middle - 1, max(0, middle - self.limit), middle - 1
        seqs = tuple(both[first : last + 1])
        return Chosen(seqs, pivot - first, more_before=first > 0, more_after=last < len(both) - 1)


class Chosen(NamedTuple):
    """The messages of a page; the one at the index `pivot` is kept however long it is."""

    seqs: tuple[Seq, ...]
    pivot: int
    more_before: bool
    more_after: bool


class Said(NamedTuple):
    """The events that a message's text is from, as they may be shown: its own, and its newest edit."""

    posted: Recorded
    edit: Recorded | None


def wanted_of(request: MessagesRequest) -> Wanted:
    """Where a page lies, by the first of `around`, `after` and `before` that is given; else at the end."""
    limit = min(request.limit, LIMIT_MAX)
    if request.around is not None:
        return Wanted(limit, request.around, limit + 1, limit + 1, is_around=True)
    if request.after is not None:
        return Wanted(limit, request.after + 1, 1, limit + 1, is_around=False)
    point = SEQ_MAX + 1 if request.before is None else request.before
    return Wanted(limit, point, limit + 1, 1, is_around=False)


def message_of(said: Said, told: Told) -> Message:
    """A message as it is now."""
    at, event = said.posted, said.posted.event
    assert isinstance(event, MessagePosted), f"{at.key} {at.seq} is no message"
    edit = None if said.edit is None else said.edit.event
    assert edit is None or isinstance(edit, MessageEdited)
    is_erased = bool(event.erased) or (edit is not None and bool(edit.erased))
    is_gone = is_erased or told.deleted is not None
    return Message(
        seq=at.seq,
        at_us=at.at_us,
        id=event.id,
        author=event.author,
        text=None if is_gone else (edit or event).text,
        thread=event.thread,
        imported=event.imported,
        edited=told.edited,
        deleted=told.deleted,
        erased=is_erased,
        reactions=() if is_gone else told.reactions,
        more_reactions=told.more_reactions and not is_gone,
        replies=told.replies,
    )


def page_of(
    chosen: Chosen, messages: Mapping[Seq, Message], upto: Seq, root: Message | None = None
) -> MessagesPage:
    """The page, cut as pages of events are; `root` does not count."""
    found = [messages[seq] for seq in chosen.seqs]
    sizes = [len(message.model_dump_json()) for message in found]
    kept = fitting(sizes, chosen.pivot) if found else slice(0, 0)
    return MessagesPage(
        messages=tuple(found[kept]),
        more_before=chosen.more_before or kept.start > 0,
        more_after=chosen.more_after or kept.stop < len(found),
        upto=upto,
        root=root,
    )
