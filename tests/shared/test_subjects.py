"""Names on NATS: each is made in one place, reads back, and never moves a channel to another partition."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import subjects as s
from shared.errors import InvalidId
from shared.ids import ChannelId, ChannelKey, Partition, UserId, WorkspaceId, new_command_id, user_from_token
from tests.support.events import users

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
KEYS = st.builds(ChannelKey, NAMES.map(WorkspaceId), NAMES.map(ChannelId))


def test_a_channel_never_moves() -> None:
    """These partitions are where existing logs are: another hash would lose them."""
    key = ChannelKey(WorkspaceId("ubuntu"), ChannelId("general"))
    assert [s.partition_of(key, p) for p in (1, 8, 1024)] == [0, 6, 662]


@given(KEYS, st.integers(1, 1024))
def test_every_channel_has_a_partition(key: ChannelKey, partitions: int) -> None:
    """The partition is one of those that exist."""
    assert 0 <= s.partition_of(key, partitions) < partitions


def test_channels_spread_evenly() -> None:
    """No partition gets twice its share of many channels."""
    keys = [ChannelKey(WorkspaceId("w"), ChannelId(f"channel-{n}")) for n in range(8_000)]
    counts = Counter(s.partition_of(key, 8) for key in keys)
    assert len(counts) == 8
    assert max(counts.values()) < 2_000


@given(KEYS, st.integers(0, 1023).map(Partition))
def test_a_channel_subject_reads_back(key: ChannelKey, partition: Partition) -> None:
    """Stored and live subjects name partition and channel, without loss."""
    for subject in (s.channel_subject(partition, key), s.live_subject(partition, key)):
        assert s.parse_channel_subject(subject) == (partition, key)


@pytest.mark.parametrize(
    "subject",
    ["", "channel", "channel.1.w", "channel.1.w.c.d", "heads.1.w.c", "channel.x.w.c", "channel.-1.w.c",
     "channel.1..c", "channel.1.w.*", "channel.1.w.é", "channel.1.w.>"],
)  # fmt: skip
def test_a_foreign_subject_is_refused(subject: str) -> None:
    """What no channel's subject can be is never taken for one."""
    with pytest.raises(InvalidId):
        s.parse_channel_subject(subject)


@given(KEYS, users())
def test_every_name_is_publishable(key: ChannelKey, user: UserId) -> None:
    """No id can put a wildcard, a blank or an empty token into a subject or key."""
    workspace, channel = key
    p = Partition(3)
    names = [
        s.channel_subject(p, key), s.live_subject(p, key), s.heads_subject(p), s.ephemeral_subject(p, key),
        s.user_subject(workspace, user, "read"), s.archive_subject(p, "history"), s.checkpoint_key(p, key),
        s.position_key(p), s.directory_key(workspace, user, channel), s.read_key(workspace, user, channel),
        s.public_directory_key(workspace, channel), s.kv_subject(s.READS, s.position_key(p)),
    ]  # fmt: skip
    assert len(set(names)) == len(names) - 1, "READS and DIRECTORY are buckets of their own, the rest differs"
    for name in names:
        assert all(name.split(".")), name
        assert not set(name) & set("*> \t\r\n"), name


@given(users())
def test_no_user_is_the_public(user: UserId) -> None:
    """No user's directory entry can be mistaken for a public channel."""
    key = s.directory_key(WorkspaceId("w"), user, ChannelId("c"))
    assert key != s.public_directory_key(WorkspaceId("w"), ChannelId("c"))
    with pytest.raises(InvalidId):
        user_from_token(s.PUBLIC_CHANNELS)


@given(KEYS, users(), users())
def test_a_message_id_is_the_authors(key: ChannelKey, one: UserId, other: UserId) -> None:
    """The same command id by another author is another message, and no author can write into another's."""
    command = new_command_id(1)
    assert (s.message_id(key, one, command) == s.message_id(key, other, command)) == (one == other)
    assert s.message_id(key, one, command).count("/") == 2
