"""The records of a Slack export: messages as they are at the end, each with its time, its own in its channel.

One query, so that DuckDB joins edits, deletions, reactions and threads to their messages within its memory.
Parley tells events apart by number and may give many the same millisecond; Slack tells them apart by time.
So each record has the time of its event, or a microsecond more than the record before it, whichever is later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from infra.export.selection import FIELDS_SQL
from infra.export.source import Source

US_MAX = 9_999_999_999_000_000
"""Slack writes seconds in ten digits."""

_IN_SLACK = (
    *("message.posted", "member.joined", "member.left", "member.invited", "member.removed"),
    *("channel.renamed", "channel.topic_set", "channel.archived", "channel.unarchived"),
)

_SQL = """
WITH said AS (
    SELECT channel, seq, kind, author, text, ref, thread, id::VARCHAR AS id, {fields} AS fields,
        coalesce(try_cast(json_extract_string({fields}, '$.imported.at') AS TIMESTAMP), ts) AS moment,
        greatest(0, least({us_max}, epoch_us(moment))) AS at_us
    FROM events WHERE {where} AND void IS NULL),
shown AS (
    SELECT *, row_number() OVER (PARTITION BY channel ORDER BY at_us, seq) AS place
    FROM said WHERE kind IN ({kinds})),
timed AS (
    SELECT *, place + max(at_us - place) OVER (PARTITION BY channel ORDER BY place) AS us FROM shown),
edits AS (
    SELECT channel, ref, max_by(text, seq) AS text, max_by(author, seq) AS editor, max_by(at_us, seq) AS us
    FROM said WHERE kind = 'message.edited' GROUP BY channel, ref),
deletions AS (
    SELECT channel, ref FROM said WHERE kind IN ('message.deleted', 'message.erased')
    UNION
    SELECT channel, seq AS ref FROM said JOIN (
        SELECT channel, json_extract_string(fields, '$.user') AS author, max(seq) AS before
        FROM said WHERE kind = 'user.erased' GROUP BY channel, json_extract_string(fields, '$.user'))
    USING (channel, author) WHERE kind = 'message.posted' AND seq < before
    UNION
    SELECT channel, seq AS ref FROM said JOIN (
        SELECT channel, max(least(seq, json_extract_string(fields, '$.before')::BIGINT)) AS below
        FROM said WHERE kind = 'messages.expired' GROUP BY channel)
    USING (channel) WHERE kind = 'message.posted' AND seq < below),
reacted AS (
    SELECT channel, ref, json_extract_string(fields, '$.emoji') AS emoji, author, min(seq) AS seq
    FROM said WHERE kind IN ('reaction.added', 'reaction.removed') GROUP BY channel, ref, emoji, author
    HAVING max_by(kind, seq) = 'reaction.added'),
emojis AS (
    SELECT channel, ref, emoji, list(author ORDER BY seq) AS users, min(seq) AS seq
    FROM reacted GROUP BY channel, ref, emoji),
reactions AS (
    SELECT channel, ref,
        list({{'name': emoji, 'users': users, 'count': len(users)}} ORDER BY seq)::JSON::VARCHAR AS list
    FROM emojis GROUP BY channel, ref),
threads AS (
    SELECT channel, thread, count(*) AS replies
    FROM shown WHERE thread IS NOT NULL GROUP BY channel, thread)
SELECT timed.channel, timed.us, timed.seq, timed.kind, timed.author, coalesce(edits.text, timed.text),
    timed.id, timed.fields, root.us, edits.editor, edits.us, deletions.ref IS NOT NULL, reactions.list,
    threads.replies
FROM timed
LEFT JOIN timed AS root ON root.channel = timed.channel AND root.seq = timed.thread
LEFT JOIN edits ON edits.channel = timed.channel AND edits.ref = timed.seq
LEFT JOIN deletions ON deletions.channel = timed.channel AND deletions.ref = timed.seq
LEFT JOIN reactions ON reactions.channel = timed.channel AND reactions.ref = timed.seq
LEFT JOIN threads ON threads.channel = timed.channel AND threads.thread = timed.seq
ORDER BY timed.channel, timed.us
"""


class Shown(NamedTuple):
    """One event that Slack has a record for, with what later events made of it."""

    channel: str
    us: int
    """Its time, in microseconds, as no other of its channel."""
    seq: int
    kind: str
    author: str
    text: str | None
    id: str | None
    fields: str | None
    root_us: int | None
    editor: str | None
    edited_us: int | None
    deleted: bool
    reactions: str | None
    replies: int | None


def read_shown(source: Source) -> Iterator[Shown]:
    """Every selected event that Slack has a record for, channel by channel, by time."""
    sql = _SQL.format(
        fields=FIELDS_SQL,
        where=source.selection.where,
        us_max=US_MAX,
        kinds=", ".join(f"'{kind}'" for kind in _IN_SLACK),
    )
    for rows in source.query(sql):
        yield from map(Shown._make, rows)


def record_of(shown: Shown, name: str) -> dict[str, object]:
    """The record, for a channel that is called `name` at that time."""
    record: dict[str, object] = {"type": "message", "ts": ts_of(shown.us), "user": shown.author}
    if shown.kind == "message.posted":
        return record | _message(shown)
    fields = orjson.loads(shown.fields) if shown.fields else {}
    match shown.kind:
        case "member.joined":
            return record | _event("channel_join", "has joined the channel", shown.author)
        case "member.invited":
            joined = _event("channel_join", "has joined the channel", fields["user"])
            return record | joined | {"inviter": shown.author}
        case "member.left":
            return record | _event("channel_leave", "has left the channel", shown.author)
        case "member.removed":
            return record | _event("channel_leave", "was removed from the channel", fields["user"])
        case "channel.renamed":
            said = _event("channel_name", "has renamed the channel", shown.author)
            return record | said | {"old_name": name, "name": fields["name"]}
        case "channel.topic_set":
            return (
                record | _event("channel_topic", "set the topic", shown.author) | {"topic": fields["topic"]}
            )
        case "channel.archived":
            return record | _event("channel_archive", "archived the channel", shown.author)
    return record | _event("channel_unarchive", "un-archived the channel", shown.author)


def ts_of(us: int) -> str:
    """A time as Slack writes it."""
    return f"{us // 1_000_000}.{us % 1_000_000:06d}"


def _event(subtype: str, what: str, user: str) -> dict[str, object]:
    return {"subtype": subtype, "user": user, "text": f"<@{user}> {what}"}


def _message(shown: Shown) -> dict[str, object]:
    record: dict[str, object] = {"text": shown.text, "client_msg_id": shown.id}
    if shown.root_us is not None:
        record["thread_ts"] = ts_of(shown.root_us)
    elif shown.replies:
        record |= {"thread_ts": ts_of(shown.us), "reply_count": shown.replies}
    if shown.deleted:
        return record | {"subtype": "tombstone", "hidden": True, "text": "This message was deleted."}
    if shown.edited_us is not None:
        record["edited"] = {"user": shown.editor, "ts": ts_of(shown.edited_us)}
    if shown.reactions is not None:
        record["reactions"] = orjson.loads(shown.reactions)
    return record
