"""What travels on NATS, as values: core messages, stored messages, publish acknowledgements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shared.clock import parse_rfc3339
from shared.ids import StreamSeq


class Message(NamedTuple):
    """A core NATS message."""

    subject: str
    body: bytes
    headers: Mapping[str, str]
    reply: str


class StoredMessage(NamedTuple):
    """A message in a stream. `last_seq` is the stream's word on the subject's sequence before this one."""

    subject: str
    body: bytes
    headers: Mapping[str, str]
    stream_seq: StreamSeq
    at_us: int
    last_seq: StreamSeq | None = None


class Value(NamedTuple):
    """What is stored under a subject, wherever it stands."""

    subject: str
    body: bytes


class PubAck(NamedTuple):
    """JetStream's answer to a commit. `retried`: the republish of the first try may have been lost."""

    stream: str
    stream_seq: StreamSeq
    duplicate: bool
    retried: bool


def stored_from_headers(message: Message) -> StoredMessage:
    """A republished or directly got message: the server's `Nats-*` headers say where it stands.

    Raises KeyError or ValueError if they are missing: then it is not the server's.
    """
    headers = message.headers
    last = headers.get("Nats-Last-Sequence")
    return StoredMessage(
        headers.get("Nats-Subject", message.subject),
        message.body,
        headers,
        StreamSeq(int(headers["Nats-Sequence"])),
        parse_rfc3339(headers["Nats-Time-Stamp"]),
        StreamSeq(int(last)) if last is not None else None,
    )
