"""Turns what one record says into orders. Pure; what cannot be imported is counted with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from infra.slack import text as slack_text
from infra.slack.copies import ARCHIVED, CHANGES, ECHOES, MEMBERSHIPS, UPDATES, Saying
from infra.slack.export import Record, subtype_of
from infra.slack.orders import Order
from infra.slack.source import Source, author_of, is_ts, ts_at, user_of

REACTIONS_MAX = 1000
"""Reactions of one message."""

NAME_CHARS_MAX = 128
TOPIC_CHARS_MAX = 1024
EMOJI_CHARS_MAX = 64
NOBODY = "USLACKBOT"
"""Does what the export says was done and not by whom."""

_DELETED = "This message was deleted."


def orders_of(saying: Saying, source: Source) -> Iterator[Order]:
    """What a record means: one order that counts for it, or a reason why there is none; then its parts."""
    record = saying.record
    subtype = subtype_of(record)
    if record.get("type", "message") != "message":
        source.tally.skip("record that is no message")
    elif subtype in ECHOES:
        source.tally.skip(f"record of the kind {subtype}")
    elif subtype == "tombstone":
        yield from _tombstone(saying, source)
    elif record.get("hidden") is True and subtype not in CHANGES:
        source.tally.skip("record of the kind hidden")
    elif subtype == "message_changed":
        yield from _changed(saying, source)
    elif subtype == "message_deleted":
        yield from _deleted(saying, source)
    elif subtype in MEMBERSHIPS:
        yield from _membership(saying, MEMBERSHIPS[subtype], source)
    elif subtype in UPDATES or subtype in ARCHIVED:
        yield from _update(saying, subtype, source)
    else:
        yield from _message(saying, source)


def _message(saying: Saying, source: Source) -> Iterator[Order]:
    author = next((found for _, record in saying.versions if (found := author_of(record)) is not None), None)
    if author is None:
        source.tally.skip("message without an author")
        return
    said = [(at_us, slack_text.text_of(record, source.tally)) for at_us, record in saying.versions]
    texts = [(at_us, text) for at_us, text in said if text] or (said if _is_empty(saying.record) else [])
    if not texts:
        source.tally.skip("message without any text")
        return
    source.tally.alter("file of a message: its contents are not imported", slack_text.files_of(saying.record))
    yield _send(saying, author, texts[0][1], source)
    for at_us, text in texts:
        if at_us >= 0:
            yield source.order(
                "edit", ts_at(at_us), author, "edited", saying.key, ref=saying.key, fields={"text": text}
            )
    for _, record in saying.versions:
        if record.get("edited") is not None and texts[-1][0] < 0:
            source.tally.omit("edit without a usable ts")
    yield from _reactions(saying, source)
    if (pinner := source.pins.pop(saying.key, None)) is not None:
        yield source.order("pin", saying.ts, pinner, "pinned", saying.key, ref=saying.key)


def _is_empty(record: Record) -> bool:
    """Whether somebody has sent nothing on purpose; what a program leaves empty is said somewhere else."""
    return record.get("text") == "" and isinstance(record.get("client_msg_id"), str)


def _send(saying: Saying, author: str, text: str, source: Source) -> Order:
    thread = _thread(saying, source)
    source.roots[saying.key] = thread or saying.key
    return source.order(
        "send",
        saying.ts,
        author,
        "message",
        author,
        creates=saying.key,
        thread=thread,
        counts=True,
        fields={"text": text},
    )


def _thread(saying: Saying, source: Source) -> str | None:
    """The message that this one answers. Replies to a root that is missing stay together."""
    named = [ts for _, record in saying.versions if isinstance(ts := record.get("thread_ts"), str)]
    root = named[-1] if named and is_ts(named[-1]) else None
    if root is None or root == saying.ts:
        return None
    if root in source.roots:
        return source.roots[root]
    source.tally.alter("reply whose root is missing: the first of them begins the thread")
    first = source.orphans.setdefault(root, saying.key)
    return None if first == saying.key else first


def _tombstone(saying: Saying, source: Source) -> Iterator[Order]:
    """A message that was deleted: without its text it still holds its thread together."""
    author = author_of(saying.record) or NOBODY
    text = slack_text.text_of(saying.record, source.tally) or _DELETED
    yield _send(saying, author, text, source)
    yield source.order("delete", saying.ts, author, "tombstone", saying.key, ref=saying.key)


def _reactions(saying: Saying, source: Source) -> Iterator[Order]:
    lists = [found for _, record in saying.versions if isinstance(found := record.get("reactions"), list)]
    given = 0
    for reaction in max(lists, key=len, default=[]):
        name = reaction.get("name") if isinstance(reaction, dict) else None
        if not isinstance(name, str) or not (emoji := _limited(name, EMOJI_CHARS_MAX, source)):
            source.tally.omit("reaction without a name")
            continue
        users = reaction.get("users")
        named = [user for entry in users if (user := user_of(entry))] if isinstance(users, list) else []
        count = reaction.get("count")
        unnamed = (count if isinstance(count, int) else 0) - len(named)
        source.tally.omit("reaction whose user is not named", min(unnamed, REACTIONS_MAX))
        for user in dict.fromkeys(named):
            given += 1
            if given > REACTIONS_MAX:
                source.tally.omit("reaction beyond the limit of one message")
                continue
            yield source.order(
                *("react", saying.ts, user, "reaction", emoji, user), ref=saying.key, fields={"emoji": emoji}
            )


def _changed(saying: Saying, source: Source) -> Iterator[Order]:
    message = saying.record.get("message")
    target = message.get("ts") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(target, str) or target not in source.roots:
        source.tally.skip("change of a message that is missing")
        return
    text, author = slack_text.text_of(message, source.tally), author_of(message)
    if not text or author is None:
        source.tally.skip("change without text or author")
        return
    fields: dict[str, object] = {"text": text}
    yield source.order("edit", saying.ts, author, "changed", target, ref=target, counts=True, fields=fields)


def _deleted(saying: Saying, source: Source) -> Iterator[Order]:
    target = saying.record.get("deleted_ts")
    if not isinstance(target, str) or target not in source.roots:
        source.tally.skip("deletion of a message that is missing")
        return
    author = author_of(saying.record) or NOBODY
    yield source.order("delete", saying.ts, author, "deleted", target, ref=target, counts=True)


def _membership(saying: Saying, kind: str, source: Source) -> Iterator[Order]:
    user = user_of(saying.record.get("user"))
    if user is None:
        source.tally.skip("join or leave without a user")
        return
    if source.is_direct:
        source.tally.skip("join or leave of a direct conversation")
        return
    source.members[user] = kind == "join"
    if kind == "join" and source.conversation.kind == "private":
        fields: dict[str, object] = {"user": user, "role": "member"}
        yield source.order("invite", saying.ts, user, "join", user, counts=True, fields=fields)
    else:
        yield source.order(kind, saying.ts, user, kind, user, counts=True)


def _update(saying: Saying, subtype: str, source: Source) -> Iterator[Order]:
    record, author = saying.record, author_of(saying.record)
    if source.is_direct:
        source.tally.skip("change of a direct conversation")
        return
    if author is None:
        source.tally.skip("change of a channel without an author")
        return
    if subtype in ARCHIVED:
        source.closed = ARCHIVED[subtype]
        fields: dict[str, object] = {"archived": source.closed}
    else:
        to, name = UPDATES[subtype]
        value = _limited(record.get(name), NAME_CHARS_MAX if to == "name" else TOPIC_CHARS_MAX, source)
        if to == "name" and not value:
            source.tally.skip("new name of a channel that is missing")
            return
        fields = {to: value}
    yield source.order("update_channel", saying.ts, author, *fields, counts=True, fields=fields)


def _limited(value: object, chars: int, source: Source) -> str:
    text = slack_text.clean(value, source.tally)
    source.tally.alter("name, topic or emoji longer than the limit: cut", int(len(text) > chars))
    return text[:chars]


def limited_name(record: Record, source: Source) -> str:
    """The channel's name within the server's limit."""
    return _limited(record.get("name"), NAME_CHARS_MAX, source)


def limited_topic(record: Record, source: Source) -> str:
    """The channel's topic, or else its purpose, within the server's limit."""
    values = (record.get("topic"), record.get("purpose"))
    texts = (value.get("value") for value in values if isinstance(value, dict))
    return next((text for value in texts if (text := _limited(value, TOPIC_CHARS_MAX, source))), "")
