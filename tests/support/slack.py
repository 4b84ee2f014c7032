"""Records of a Slack export as people write them in tests, and what becomes of them."""

from __future__ import annotations

from infra.slack.convert import convert
from infra.slack.export import Conversation, Record
from infra.slack.orders import Conversion, Order
from infra.slack.tally import Tally
from shared.events import ChannelKind

NOW_US = 1_790_000_000_000_000
CHANNEL = {"id": "C1", "name": "tea", "created": "1452837318", "creator": "U1", "members": ["U1", "U2"]}


def converted(
    *records: Record, channel: Record = CHANNEL, kind: ChannelKind = "public"
) -> tuple[Conversion, Tally]:
    """The conversion of a channel, and its tally, which is balanced."""
    tally = Tally()
    tally.records = len(records)
    conversion = convert(Conversation(kind, str(channel["id"]), channel), records, "acme", tally, NOW_US)
    tally.recorded = sum(order.counts for order in conversion.orders)
    assert tally.balanced, tally
    return conversion, tally


def orders(*records: Record) -> list[Order]:
    """The orders after the invitations."""
    return [order for order in converted(*records)[0].orders if order.kind != "invite"]


def message(ts: str, **fields: object) -> Record:
    """A record of somebody saying hi, but for these fields."""
    return {"type": "message", "ts": ts, "user": "U1", "text": "hi"} | fields
