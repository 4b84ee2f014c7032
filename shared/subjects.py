"""Every name on NATS: subjects, keys, message ids, and the partition function. Nothing else spells them."""

from __future__ import annotations

import zlib
from typing import Literal

from shared.errors import InvalidId
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Partition,
    UserId,
    WorkspaceId,
    channel_id,
    user_token,
    workspace_id,
)

PUBLIC_CHANNELS = "=public"
"""Takes a user's place in directory keys: the public channels of a workspace. No user token looks like it."""

CHECKPOINTS = "CHECKPOINTS"
DIRECTORY = "DIRECTORY"
READS = "READS"
BUCKETS = (CHECKPOINTS, DIRECTORY, READS)
EPHEMERAL = "ephemeral.>"
"""What edges tell one another of all channels, and nobody stores."""

LEADER_ELECTED = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>"


def partition_of(key: ChannelKey, partitions: int) -> Partition:
    """The partition of a channel, for ever: CRC-32 of `workspace/channel`, modulo P."""
    return Partition(zlib.crc32(f"{key.workspace}/{key.channel}".encode()) % partitions)


def log_stream(partition: Partition) -> str:
    """The JetStream stream that holds the logs of a partition's channels."""
    return f"LOG_{partition}"


def bucket_stream(bucket: str) -> str:
    """The stream below a key-value bucket."""
    return f"KV_{bucket}"


def channel_subject(partition: Partition, key: ChannelKey) -> str:
    """Where a channel's events are published and stored."""
    return f"channel.{partition}.{key.workspace}.{key.channel}"


def live_subject(partition: Partition, key: ChannelKey) -> str:
    """Where the stream republishes a channel's events once they are committed."""
    return f"live.{partition}.{key.workspace}.{key.channel}"


def parse_channel_subject(subject: str) -> tuple[Partition, ChannelKey]:
    """The inverse of `channel_subject`, `live_subject`, `ephemeral_subject`; raises `InvalidId`."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] not in {"channel", "live", "ephemeral"} or not parts[1].isdecimal():
        raise InvalidId(f"not a channel subject: {subject!r}")
    key = ChannelKey(workspace_id(parts[2]), channel_id(parts[3]))
    return Partition(int(parts[1])), key


def message_id(key: ChannelKey, author: UserId, command: CommandId) -> str:
    """`Nats-Msg-Id`: what JetStream deduplicates by within its window."""
    return f"{key.channel}/{user_token(author)}/{command}"


def heads_subject(partition: Partition | Literal["*"]) -> str:
    """Where the sequencer broadcasts the heads of the channels that changed (`*`: every partition)."""
    return f"heads.{partition}"


def ephemeral_subject(partition: Partition, key: ChannelKey) -> str:
    """Typing and other facts of a channel that are never stored."""
    return f"ephemeral.{partition}.{key.workspace}.{key.channel}"


def user_subject(workspace: WorkspaceId, user: UserId, what: str) -> str:
    """Facts for one user's sessions, wherever they are: `membership` (sequencer), `read` (edges), or `*`."""
    return f"user.{workspace}.{user_token(user)}.{what}"


def archive_subject(partition: Partition | str, operation: str) -> str:
    """Requests to the archiver of a partition: `history`, `search`, `ids`, `status` and others.

    In place of a partition: `sql` (any archiver takes `open`), and what its answer names (`next`, `close`).
    """
    return f"archive.{partition}.{operation}"


def kv_subject(bucket: str, key: str) -> str:
    """The subject of a key in a JetStream key-value bucket."""
    return f"$KV.{bucket}.{key}"


def checkpoint_key(partition: Partition, key: ChannelKey) -> str:
    """`CHECKPOINTS` key of a channel."""
    return f"{partition}.{key.workspace}.{key.channel}"


def position_key(partition: Partition) -> str:
    """`CHECKPOINTS` key of a partition's position: everything up to it is in the channels' checkpoints."""
    return f"{partition}.position"


def directory_key(workspace: WorkspaceId, user: UserId, channel: ChannelId) -> str:
    """`DIRECTORY` key: this user's belonging to this channel."""
    return f"{workspace}.{user_token(user)}.{channel}"


def public_directory_key(workspace: WorkspaceId, channel: ChannelId) -> str:
    """`DIRECTORY` key: this channel is public."""
    return f"{workspace}.{PUBLIC_CHANNELS}.{channel}"


def read_key(workspace: WorkspaceId, user: UserId, channel: ChannelId) -> str:
    """`READS` key: how far this user has read in this channel."""
    return f"{workspace}.{user_token(user)}.{channel}"


def inbox_prefix(user: str) -> str:
    """Where a service's replies arrive: its own user's inboxes, which no other user may subscribe to."""
    return f"_INBOX_{user}" if user else "_INBOX"
