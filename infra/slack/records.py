"""Turns one record of a channel into orders. Pure; what cannot be imported is counted with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from infra.slack import text as slack_text
from infra.slack.export import Record
from infra.slack.orders import Order
from infra.slack.source import Source, author_of, is_ts, user_of

REACTIONS_MAX = 1000
"""Reactions of one message."""

_AS_EVENTS = {
    "channel_join": "join",
    "group_join": "join",
    "channel_leave": "leave",
    "group_leave": "leave",
}
_UPDATES = {
    "channel_topic": ("topic", "topic"),
    "group_topic": ("topic", "topic"),
    "channel_purpose": ("topic", "purpose"),
    "group_purpose": ("topic", "purpose"),
    "channel_name": ("name", "name"),
    "group_name": ("name", "name"),
}
_ARCHIVED = {
    "channel_archive": True,
    "group_archive": True,
    "channel_unarchive": False,
    "group_unarchive": False,
}
_CHANGES = frozenset({"message_changed", "message_deleted"})
_EMPTY = frozenset({"tombstone", "message_replied", "thread_broadcast_removed"})
"""Subtypes that only repeat what another record says, or stand where a message was."""


def orders_of(record: Record, source: Source) -> Iterator[Order]:
    """The orders that a record means; it has a usable `ts`."""
    subtype = str(record.get("subtype", ""))
    ts = str(record["ts"])
    if record.get("type", "message") != "message":
        source.tally.skip("record that is no message")
    elif subtype in _EMPTY or (record.get("hidden") is True and subtype not in _CHANGES):
        source.tally.skip(f"record of the kind {subtype if subtype in _EMPTY else 'hidden'}")
    elif subtype == "message_changed":
        yield from _changed(record, ts, source)
    elif subtype == "message_deleted":
        yield from _deleted(record, ts, source)
    elif subtype in _AS_EVENTS:
        yield from _membership(record, ts, _AS_EVENTS[subtype], source)
    elif subtype in {*_UPDATES, *_ARCHIVED}:
        yield from _update(record, ts, subtype, source)
    else:
        yield from _message(record, ts, source)


def _message(record: Record, ts: str, source: Source) -> Iterator[Order]:
    author = author_of(record)
    text = slack_text.text_of(record, source.tally)
    if author is None:
        source.tally.skip("message without an author")
        return
    if not text:
        source.tally.skip("message without any text")
        return
    thread = record.get("thread_ts")
    root = thread if isinstance(thread, str) and is_ts(thread) and thread != ts else None
    if root is not None and root not in source.seen:
        source.tally.alter("reply whose root is missing: imported outside its thread")
        root = None
    yield source.order("send", ts, author, "message", author, creates=ts, thread=root, fields={"text": text})
    yield from _edit(record, ts, author, text, source)
    yield from _reactions(record, ts, source)


def _edit(record: Record, ts: str, author: str, text: str, source: Source) -> Iterator[Order]:
    """Slack keeps the last text and who changed it when: an edit that says the same marks the message."""
    edited = record.get("edited")
    if not isinstance(edited, dict):
        return
    edited_ts = edited.get("ts")
    if not isinstance(edited_ts, str) or not is_ts(edited_ts):
        source.tally.skip("edit without a usable ts")
        return
    yield source.order("edit", edited_ts, author, "edited", ts, ref=ts, fields={"text": text})


def _reactions(record: Record, ts: str, source: Source) -> Iterator[Order]:
    reactions = record.get("reactions")
    if not isinstance(reactions, list):
        return
    given = 0
    for reaction in reactions:
        name = reaction.get("name") if isinstance(reaction, dict) else None
        if not isinstance(name, str) or not (emoji := slack_text.clean(name, source.tally)[:64]):
            source.tally.skip("reaction without a name")
            continue
        users = reaction.get("users")
        named = [user for entry in users if (user := user_of(entry))] if isinstance(users, list) else []
        count = reaction.get("count")
        source.tally.skip(
            "reaction whose user is not named", (count if isinstance(count, int) else 0) - len(named)
        )
        for user in dict.fromkeys(named):
            given += 1
            if given > REACTIONS_MAX:
                source.tally.skip("reaction beyond the limit of one message")
                continue
            yield source.order("react", ts, user, "reaction", emoji, user, ref=ts, fields={"emoji": emoji})


def _changed(record: Record, ts: str, source: Source) -> Iterator[Order]:
    message = record.get("message")
    target = message.get("ts") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(target, str) or target not in source.seen:
        source.tally.skip("change of a message that is missing")
        return
    text, author = slack_text.text_of(message, source.tally), author_of(message)
    if not text or author is None:
        source.tally.skip("change without text or author")
        return
    yield source.order("edit", ts, author, "changed", target, ref=target, fields={"text": text})


def _deleted(record: Record, ts: str, source: Source) -> Iterator[Order]:
    target = record.get("deleted_ts")
    if not isinstance(target, str) or target not in source.seen:
        source.tally.skip("deletion of a message that is missing")
        return
    author = author_of(record) or "USLACKBOT"
    yield source.order("delete", ts, author, "deleted", target, ref=target)


def _membership(record: Record, ts: str, kind: str, source: Source) -> Iterator[Order]:
    user = user_of(record.get("user"))
    if user is None:
        source.tally.skip("join or leave without a user")
        return
    if source.is_direct:
        source.tally.skip("join or leave of a direct conversation")
        return
    source.members.add(user)
    if kind == "join" and source.conversation.kind == "private":
        yield source.order("invite", ts, user, "join", user, fields={"user": user, "role": "member"})
    else:
        yield source.order(kind, ts, user, kind, user)


def _update(record: Record, ts: str, subtype: str, source: Source) -> Iterator[Order]:
    author = author_of(record)
    if author is None or source.is_direct:
        source.tally.skip("change of a channel without an author")
        return
    if subtype in _ARCHIVED:
        source.closed = _ARCHIVED[subtype]
        yield source.order("update_channel", ts, author, "archived", fields={"archived": source.closed})
        return
    to, name = _UPDATES[subtype]
    value = slack_text.clean(record.get(name), source.tally)
    if to == "name" and not value:
        source.tally.skip("new name of a channel that is missing")
        return
    limited = value[:128] if to == "name" else value[:1024]
    yield source.order("update_channel", ts, author, to, fields={to: limited})
