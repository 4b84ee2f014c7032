"""The archive as people ask about it: views as SQL text over the rows of its segments.

`events` is what the logs hold. The other views fold it as `shared.channel` and the clients do: a void event
changes nothing, the newest edit of a message counts, a message that was deleted or erased is not there, and
neither are reactions to it; who belongs to a channel is who belongs to it after its
last event in the archive. Times are naive UTC: `ts` is when the log took an event, `happened` when it really
happened, which differs for what was imported.
"""

from __future__ import annotations

from collections.abc import Mapping

_BODY = "coalesce(json_extract_string(extras, '$.body'), extras)"
"""What an event says beyond its columns; `body` is there if another encoder than ours made it."""

_FRAGMENTS = {
    name: f"json_extract_string({_BODY}, '$.{name}')"
    for name in ("channel_kind", "name", "topic", "user", "role", "emoji")
} | {
    "before": f"try_cast(json_extract_string({_BODY}, '$.before') AS BIGINT)",
    "days": f"try_cast(json_extract_string({_BODY}, '$.days') AS INTEGER)",
    "members": f"from_json(json_extract({_BODY}, '$.members'), '[\"VARCHAR\"]')",
    "happened": "CASE WHEN extras IS NULL THEN ts ELSE"
    f" coalesce(try_cast(json_extract_string({_BODY}, '$.imported.at') AS TIMESTAMP), ts) END",
}

_GONE = (
    "(SELECT workspace, channel, ref FROM {rows}"
    " WHERE kind IN ('message.deleted', 'message.erased') AND void IS NULL)"
)
_FORGOTTEN = (
    "(SELECT workspace, channel, {user} AS author, max(seq) AS before FROM {rows}"
    " WHERE kind = 'user.erased' AND void IS NULL GROUP BY ALL)"
)
_EXPIRED = (
    "(SELECT workspace, channel, max(least({before}, seq)) AS below, max(seq) AS before FROM {rows}"
    " WHERE kind = 'messages.expired' AND void IS NULL GROUP BY ALL)"
)

_MESSAGES = f"""
SELECT posted.workspace, posted.channel, posted.seq, posted.author, posted.ts, posted.happened,
    CASE WHEN edits.ref IS NULL THEN posted.text ELSE edits.text END AS text,
    posted.thread, posted.id, edits.ts AS edited
FROM (
    SELECT *, {{happened}} AS happened FROM {{rows}} WHERE kind = 'message.posted' AND void IS NULL
) AS posted
LEFT JOIN (
    SELECT workspace, channel, ref, arg_max(text, seq) AS text, arg_max(ts, seq) AS ts
    FROM {{rows}} WHERE kind = 'message.edited' AND void IS NULL GROUP BY workspace, channel, ref
) AS edits ON edits.channel = posted.channel AND edits.ref = posted.seq AND edits.workspace = posted.workspace
ANTI JOIN {_GONE} AS gone
    ON gone.channel = posted.channel AND gone.ref = posted.seq AND gone.workspace = posted.workspace
ANTI JOIN {_FORGOTTEN} AS forgotten ON forgotten.channel = posted.channel
    AND forgotten.author = posted.author AND forgotten.workspace = posted.workspace
    AND forgotten.before > posted.seq
ANTI JOIN {_EXPIRED} AS expired ON expired.channel = posted.channel
    AND expired.workspace = posted.workspace AND expired.below > posted.seq
"""  # noqa: S608

_REACTIONS = f"""
SELECT given.workspace, given.channel, given.message, given.author, given.emoji, given.ts
FROM (
    SELECT workspace, channel, ref AS message, author, {{emoji}} AS emoji,
        arg_max(kind, seq) AS kind, arg_max(ts, seq) AS ts
    FROM {{rows}} WHERE kind IN ('reaction.added', 'reaction.removed') AND void IS NULL GROUP BY ALL
) AS given
ANTI JOIN {_GONE} AS gone
    ON gone.channel = given.channel AND gone.ref = given.message AND gone.workspace = given.workspace
ANTI JOIN {_EXPIRED} AS expired ON expired.channel = given.channel
    AND expired.workspace = given.workspace AND expired.below > given.message
WHERE given.kind = 'reaction.added'
"""  # noqa: S608

_CHANNELS = """
SELECT workspace, channel, any_value({channel_kind}) AS kind,
    coalesce(arg_max({name}, seq) FILTER (event IN ('channel.created', 'channel.renamed')), '') AS name,
    coalesce(arg_max({topic}, seq) FILTER (event IN ('channel.created', 'channel.topic_set')), '') AS topic,
    arg_max_null({days}, seq) FILTER (event = 'channel.retention_set') AS retention_days,
    coalesce(bool_or(event = 'channel.archived' AND seq = last_switch), false) AS archived,
    any_value(author) FILTER (event = 'channel.created') AS created_by,
    any_value(ts) FILTER (event = 'channel.created') AS ts,
    any_value({happened}) FILTER (event = 'channel.created') AS happened
FROM (
    SELECT *, kind AS event, max(CASE WHEN kind IN ('channel.archived', 'channel.unarchived') THEN seq END)
        OVER (PARTITION BY workspace, channel) AS last_switch
    FROM {rows} WHERE kind LIKE 'channel.%' AND void IS NULL
) GROUP BY workspace, channel
"""

_MEMBERS = """
WITH changes AS (
    SELECT workspace, channel, seq, ts,
        CASE kind WHEN 'member.left' THEN 'out' WHEN 'member.removed' THEN 'out'
            WHEN 'member.role_changed' THEN 'role' ELSE 'in' END AS change,
        CASE WHEN kind IN ('member.joined', 'member.left') THEN author ELSE {user} END AS member,
        coalesce({role}, 'member') AS role
    FROM {rows} WHERE kind LIKE 'member.%' AND void IS NULL
    UNION ALL
    SELECT workspace, channel, seq, ts, 'in', unnest({members}), 'member'
    FROM {rows} WHERE kind = 'channel.created' AND void IS NULL
    UNION ALL
    SELECT workspace, channel, seq, ts, 'in', author, 'admin'
    FROM {rows} WHERE kind = 'channel.created' AND void IS NULL AND {channel_kind} <> 'direct'
), spells AS (
    SELECT *, coalesce(max(CASE WHEN change = 'out' THEN seq END)
        OVER (PARTITION BY workspace, channel, member), 0) AS left_at
    FROM changes
)
SELECT workspace, channel, member,
    coalesce(arg_max(role, seq) FILTER (change = 'role'),
        arg_min(role, (seq, role)) FILTER (change = 'in')) AS role,
    min(ts) FILTER (change = 'in') AS since
FROM spells WHERE seq > left_at GROUP BY workspace, channel, member
"""


_TOLD = f"""
SELECT workspace, channel, seq, CASE WHEN void IS NULL THEN kind ELSE 'void' END AS kind, author, ts,
    CASE WHEN void IS NULL THEN CASE WHEN erased THEN '' ELSE text END END AS text,
    CASE WHEN void IS NULL THEN ref END AS ref, CASE WHEN void IS NULL THEN thread END AS thread, id, void,
    CASE WHEN void IS NULL AND NOT erased THEN extras END AS extras
FROM (
    SELECT told.*, told.kind IN ('message.posted', 'message.edited')
        AND (gone.ref IS NOT NULL OR forgotten.author IS NOT NULL OR expired.below IS NOT NULL) AS erased
    FROM {{rows}} AS told
    LEFT JOIN (
        SELECT workspace, channel, ref, max(seq) AS before FROM {{rows}}
        WHERE kind = 'message.erased' AND void IS NULL GROUP BY ALL
    ) AS gone ON gone.workspace = told.workspace AND gone.channel = told.channel AND gone.before > told.seq
        AND gone.ref = CASE WHEN told.kind = 'message.edited' THEN told.ref ELSE told.seq END
    LEFT JOIN {_FORGOTTEN} AS forgotten ON forgotten.workspace = told.workspace
        AND forgotten.channel = told.channel AND forgotten.author = told.author
        AND forgotten.before > told.seq
    LEFT JOIN {_EXPIRED} AS expired ON expired.workspace = told.workspace
        AND expired.channel = told.channel AND expired.before > told.seq AND expired.below
            > CASE WHEN told.kind = 'message.edited' THEN least(told.ref, told.seq) ELSE told.seq END
)
"""  # noqa: S608


def told(rows: str) -> str:
    """The events as clients are told of them: of what is void, only that it was there; no erased text.

    Nor `stream_seq`, which stays inside.
    """
    return _TOLD.strip().format(rows=rows, **_FRAGMENTS)


def views(rows: str) -> Mapping[str, str]:
    """The folded views by name, each as a SELECT. `rows` stands in their FROM: where events are read."""
    texts = {"messages": _MESSAGES, "channels": _CHANNELS, "members": _MEMBERS, "reactions": _REACTIONS}
    return {name: text.strip().format(rows=rows, **_FRAGMENTS) for name, text in texts.items()}
