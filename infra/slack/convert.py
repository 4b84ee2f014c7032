"""Turns one channel of a Slack export into commands. Pure: records in, orders and a tally out.

Every command's id is derived from team, channel, `ts` and user, and its time is Slack's: a second import
of the same export asks for exactly the same, and changes nothing. Authors are Slack's user ids, known to
`users.json` or not; bots are authors too. Whatever cannot be imported is counted with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from infra.slack.copies import merged, ts_of
from infra.slack.export import Conversation, Record
from infra.slack.orders import Conversion, Order
from infra.slack.records import NOBODY, limited_name, limited_topic, orders_of
from infra.slack.source import Source, time_us, user_of
from infra.slack.tally import Tally
from shared.errors import InvalidId
from shared.ids import channel_id


def convert(
    conversation: Conversation, records: Iterable[Record], team: str, tally: Tally, now_us: int
) -> Conversion:
    """The orders for one channel. A record from after `now_us` does not say when the channel ends."""
    source = Source(conversation, team, tally, pins=_pins(conversation.record))
    orders: list[Order] = []
    for saying in merged(records, tally):
        orders += orders_of(saying, source)
        source.last = saying.ts if time_us(saying.ts) <= now_us else source.last
    tally.omit("pin of something that is no message here", len(source.pins))
    listed = _listed(source)
    create = _creation(source, listed)
    everything = [
        *_opening(source, listed, create.origin.author),
        *orders,
        *_closing(source, listed, create.origin.author),
    ]
    public = conversation.kind == "public"
    return Conversion(_public_id(conversation.identity) if public else None, create, everything)


def _public_id(identity: str) -> str:
    """Slack's own id; one without gets one from its name, the same every time."""
    try:
        return channel_id(identity)
    except InvalidId:
        raw = identity.encode(errors="surrogatepass")
        return f"slack_{hashlib.blake2b(raw, digest_size=12).hexdigest()}"


def _creation(source: Source, listed: list[str]) -> Order:
    record = source.conversation.record
    creator = user_of(record.get("creator")) or (listed[0] if listed else NOBODY)
    fields: dict[str, object] = {"kind": source.conversation.kind}
    if source.is_direct:
        fields |= {"name": "", "topic": "", "members": listed}
        creator = listed[0] if listed else creator
    else:
        topic = limited_topic(record, source)
        fields |= {"name": limited_name(record, source), "topic": topic, "members": []}
    return source.order("create_channel", _created(source), creator, "created", fields=fields)


def _opening(source: Source, listed: list[str], creator: str) -> Iterator[Order]:
    """Who is a member although no record says since when; and a creator who is one no longer."""
    if source.is_direct:
        return
    if listed and creator not in listed and creator not in source.members:
        yield source.order("leave", _created(source), creator, "gone", creator)
    for user in listed:
        if user not in source.members and user != creator:
            fields: dict[str, object] = {"user": user, "role": "member"}
            yield source.order("invite", _created(source), creator, "member", user, fields=fields)


def _closing(source: Source, listed: list[str], creator: str) -> Iterator[Order]:
    """What the lists say and no record does: who has gone, who is back, that the channel is archived."""
    if source.is_direct:
        return
    for user, is_in in source.members.items() if listed else ():
        if is_in and user not in listed:
            yield source.order("leave", source.last, user, "gone", user)
        elif not is_in and user in listed and not source.closed:
            fields: dict[str, object] = {"user": user, "role": "member"}
            yield source.order("invite", source.last, creator, "back", user, fields=fields)
    if source.conversation.record.get("is_archived") is True and not source.closed:
        last = source.last if source.last != "0" else _created(source)
        yield source.order("update_channel", last, creator, "archived", fields={"archived": True})


def _pins(record: Record) -> dict[str, str]:
    """Who has pinned which message; they are ordered with their messages."""
    pins = record.get("pins")
    entries = [pin for pin in pins if isinstance(pin, dict)] if isinstance(pins, list) else []
    return {ts: user_of(pin.get("user")) or NOBODY for pin in entries if isinstance(ts := pin.get("id"), str)}


def _listed(source: Source) -> list[str]:
    members = source.conversation.record.get("members")
    users = [user_of(member) for member in members] if isinstance(members, list) else []
    known = list(dict.fromkeys(user for user in users if user is not None))
    source.tally.omit("member without a usable id", sum(user is None for user in users))
    return known


def _created(source: Source) -> str:
    record = source.conversation.record
    return ts_of({"ts": record.get("created")}) or "0"
