"""The Python SDK: a client that survives the network, and a verifier that proves what it saw."""

from __future__ import annotations

from shared.client.client import Client
from shared.client.commands import Origin
from shared.client.errors import ClientClosed, OutboxFull, Refused, SessionEnded
from shared.client.updates import (
    Ack,
    ChannelEvent,
    Gap,
    Membership,
    Offline,
    Online,
    Opened,
    ReadMoved,
    Reset,
    Resumed,
    Typing,
    Update,
)
from shared.client.verifier import ERASED, Fault, Verifier, digest

__all__ = [
    "ERASED",
    "Ack",
    "ChannelEvent",
    "Client",
    "ClientClosed",
    "Fault",
    "Gap",
    "Membership",
    "Offline",
    "Online",
    "Opened",
    "Origin",
    "OutboxFull",
    "ReadMoved",
    "Refused",
    "Reset",
    "Resumed",
    "SessionEnded",
    "Typing",
    "Update",
    "Verifier",
    "digest",
]
