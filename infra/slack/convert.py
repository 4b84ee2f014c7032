"""Turns one channel of a Slack export into commands. Pure: records in, orders and a tally out.

Every command's id is derived from team, channel, `ts` and user, and its time is Slack's: a second import
of the same export asks for exactly the same, and changes nothing. Authors are Slack's user ids, known to
`users.json` or not; bots are authors too. Whatever cannot be imported is counted with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from infra.slack import text as slack_text
from infra.slack.export import Conversation, Record
from infra.slack.orders import Conversion, Order
from infra.slack.records import orders_of
from infra.slack.source import Source, is_ts, time_us, user_of
from infra.slack.tally import Tally
from shared.errors import InvalidId
from shared.ids import DIRECT_PREFIX, PRIVATE_PREFIX, channel_id

DIRECT_MEMBERS_MAX = 20
NAME_CHARS_MAX = 128
TOPIC_CHARS_MAX = 1024
_SOMEBODY = "USLACKBOT"
"""Creates channels of which the export says neither creator nor members."""


def convert(
    conversation: Conversation, records: Iterable[Record], team: str, tally: Tally
) -> Conversion | None:
    """The orders for one channel; None, counted, if it cannot be imported at all."""
    slack_id = conversation.record.get("id")
    try:
        checked = channel_id(slack_id if isinstance(slack_id, str) else "")
    except InvalidId:
        tally.skip("channel without a usable id")
        return None
    public = conversation.kind == "public"
    if public and checked.startswith((PRIVATE_PREFIX, DIRECT_PREFIX)):
        tally.skip("channel without a usable id")
        return None
    source = Source(conversation, checked, team, tally)
    orders = [order for record in _in_order(records, source) for order in orders_of(record, source)]
    create = _creation(source)
    everything = [*_members(source, create.origin.author), *orders, *_closing(source, create.origin.author)]
    return Conversion(checked if public else None, create, everything)


def _in_order(records: Iterable[Record], source: Source) -> list[Record]:
    """The records with a `ts`, by time; each `ts` once."""
    kept: list[tuple[int, Record]] = []
    for record in records:
        ts = record.get("ts")
        if not isinstance(ts, str) or not is_ts(ts):
            source.tally.skip("record without a usable ts")
        elif ts in source.seen:
            source.tally.skip("record with a ts that its channel has already")
        else:
            source.seen.add(ts)
            kept.append((time_us(ts), record))
    return [record for _, record in sorted(kept, key=lambda pair: pair[0])]


def _creation(source: Source) -> Order:
    record, members = source.conversation.record, _listed(source)
    creator = user_of(record.get("creator")) or (members[0] if members else _SOMEBODY)
    topic = _value(record.get("topic"), source) or _value(record.get("purpose"), source)
    fields: dict[str, object] = {
        "kind": source.conversation.kind,
        "name": slack_text.clean(record.get("name"), source.tally)[:NAME_CHARS_MAX],
        "topic": topic[:TOPIC_CHARS_MAX],
        "members": [],
    }
    if source.is_direct:
        fields |= {"name": "", "topic": "", "members": members[:DIRECT_MEMBERS_MAX]}
        creator = members[0] if members else creator
    return source.order("create_channel", _created(source), creator, "created", fields=fields)


def _members(source: Source, creator: str) -> Iterator[Order]:
    """Invitations for the listed members of whom no record says how they came."""
    for user in () if source.is_direct else _listed(source):
        if user not in source.members and user != creator:
            fields: dict[str, object] = {"user": user, "role": "member"}
            yield source.order("invite", _created(source), creator, "member", user, fields=fields)


def _closing(source: Source, creator: str) -> Iterator[Order]:
    """The end of a channel that is archived although no record says when."""
    if source.conversation.record.get("is_archived") is True and not (source.closed or source.is_direct):
        last = max(source.seen, key=time_us, default=_created(source))
        yield source.order("update_channel", last, creator, "archived", fields={"archived": True})


def _listed(source: Source) -> list[str]:
    members = source.conversation.record.get("members")
    users = [user_of(member) for member in members] if isinstance(members, list) else []
    return list(dict.fromkeys(user for user in users if user is not None))


def _created(source: Source) -> str:
    created = str(source.conversation.record.get("created", ""))
    return created if is_ts(created) else "0"


def _value(value: object, source: Source) -> str:
    return slack_text.clean(value.get("value"), source.tally) if isinstance(value, dict) else ""
