"""What an import asks for, as values: commands whose targets are still Slack's, not numbers of a log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.client import Origin
from shared.ids import CommandId


@dataclass(frozen=True, slots=True)
class Order:
    """One command. `creates` is the message that it makes; `ref` and `thread` are those that it needs.

    An order whose `ref` was not recorded cannot be given; one whose `thread` was not loses its thread.
    `counts`: it stands for a record of the export; the others are parts of one, or of a list.
    """

    kind: str
    id: CommandId
    origin: Origin
    fields: Mapping[str, object] = field(default_factory=dict)
    creates: str | None = None
    ref: str | None = None
    thread: str | None = None
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """A channel: the order that creates it, then the rest in Slack's order."""

    channel: str | None
    """The id of a public channel; others get theirs from the server."""
    create: Order
    orders: list[Order]
