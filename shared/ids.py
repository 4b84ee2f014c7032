"""Identifiers: distinct types, validated once where they enter, and their forms on NATS.

Channels and workspaces are `[A-Za-z0-9_-]{1,64}`, so each is one NATS token as it stands. A user id is
whatever the identity provider puts into `sub`; `user_token` maps it to one token and back without loss.
Commands that write carry a UUIDv7, whose own time decides how its idempotence is checked.
"""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple, NewType

from shared.errors import InvalidId

WorkspaceId = NewType("WorkspaceId", str)
ChannelId = NewType("ChannelId", str)
UserId = NewType("UserId", str)
CommandId = NewType("CommandId", str)
Epoch = NewType("Epoch", str)
Partition = NewType("Partition", int)
Seq = NewType("Seq", int)
"""Position in a channel's log, gapless from 1; 0 means "before the first"."""
SEQ_MAX = 2**53 - 1
"""The largest integer that every client can hold (P2)."""
StreamSeq = NewType("StreamSeq", int)
"""JetStream's sequence; never leaves the servers."""

USER_BYTES_MAX = 255
CHECKED_KEPT = 8192
"""Users and channels whose ids are not checked or spelled again: the same few thousand come all the time."""

PRIVATE_PREFIX = "p_"
DIRECT_PREFIX = "d_"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class ChannelKey(NamedTuple):
    """A channel's full name: ids are unique within their workspace only."""

    workspace: WorkspaceId
    channel: ChannelId


class Cursor(NamedTuple):
    """The last event of one channel that a client has processed."""

    epoch: Epoch
    seq: Seq


def workspace_id(text: str) -> WorkspaceId:
    """Validate a workspace id; raises `InvalidId`."""
    return WorkspaceId(_named(text, "workspace"))


@functools.lru_cache(maxsize=CHECKED_KEPT)
def channel_id(text: str) -> ChannelId:
    """Validate a channel id; raises `InvalidId`."""
    return ChannelId(_named(text, "channel"))


@functools.lru_cache(maxsize=CHECKED_KEPT)
def user_id(text: str) -> UserId:
    """Validate a user id: 1 to 255 bytes of UTF-8 without control characters; raises `InvalidId`."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidId(f"user id is not valid Unicode at position {error.start}") from error
    if not 1 <= size <= USER_BYTES_MAX:
        raise InvalidId(f"user id has {size} bytes; 1 to {USER_BYTES_MAX} are allowed")
    if _CONTROL.search(text):
        raise InvalidId("user id holds a control character")
    return UserId(text)


def command_id(text: str) -> CommandId:
    """Validate a UUIDv7 in its canonical lower-case form; raises `InvalidId`."""
    if not _UUID7.fullmatch(text):
        raise InvalidId("id must be a UUIDv7 in lower-case canonical form")
    return CommandId(text)


def command_time_ms(command: CommandId) -> int:
    """The Unix time in milliseconds that a UUIDv7 carries."""
    return int(command[:8] + command[9:13], 16)


def new_command_id(now_ms: int) -> CommandId:
    """A fresh UUIDv7 for `now_ms` (server time, so that a wrong client clock does no harm)."""
    return _uuid7(now_ms, secrets.token_bytes(10))


def derived_command_id(time_ms: int, *parts: str) -> CommandId:
    """The UUIDv7 that belongs to this input for ever: same time and parts, same id (imports)."""
    return _uuid7(time_ms, _hash(parts, 10))


def private_channel_id(author: UserId, command: CommandId) -> ChannelId:
    """The id of a private channel: made from its creation, so that nobody can probe for a taken name."""
    return ChannelId(PRIVATE_PREFIX + _digest(author, command))


def direct_channel_id(members: frozenset[UserId]) -> ChannelId:
    """The id of the direct channel between these users: one set of users, one channel."""
    return ChannelId(DIRECT_PREFIX + _digest(*sorted(members)))


@functools.lru_cache(maxsize=CHECKED_KEPT)
def user_token(user: UserId) -> str:
    """A user id as one NATS token: safe bytes as they are, every other byte as `=XX`."""
    return "".join(chr(b) if b in _TOKEN_SAFE else f"={b:02X}" for b in user.encode())


def user_from_token(token: str) -> UserId:
    """The inverse of `user_token`; raises `InvalidId` on anything that it cannot have made."""
    if not _TOKEN.fullmatch(token):
        raise InvalidId(f"not a user token: {token!r}")
    raw = re.sub(rb"=([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), token.encode())
    try:
        user = user_id(raw.decode())
    except UnicodeDecodeError as error:
        raise InvalidId(f"not a user token: {token!r}") from error
    if user_token(user) != token:  # `=41` for `A`: one user would have two names
        raise InvalidId(f"not a user token: {token!r}")
    return user


def _named(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        raise InvalidId(f"{what} id must match [A-Za-z0-9_-]{{1,64}}")
    return text


def _digest(*parts: str) -> str:
    return _hash(parts, 12).hex()


def _hash(parts: Sequence[str], size: int) -> bytes:
    """Lengths keep `ab, c` and `a, bc` apart; input from elsewhere may hold lone surrogates."""
    counted = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.blake2b(counted.encode(errors="surrogatepass"), digest_size=size).digest()


def _uuid7(time_ms: int, random: bytes) -> CommandId:
    """48 bits of time, then 80 random bits with version and variant written over (RFC 9562, 5.7)."""
    time, rest = f"{time_ms & ((1 << 48) - 1):012x}", random.hex()
    variant = "89ab"[random[2] >> 4 & 3]
    return CommandId(f"{time[:8]}-{time[8:]}-7{rest[1:4]}-{variant}{rest[5:8]}-{rest[8:]}")
