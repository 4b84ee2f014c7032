"""Taking a server of a cluster out of service and back without a pause: its leaders move away first.

Every copy of every stream must be current before a server leaves, and again after it is back: whoever ends
the next one before that takes the majority of some log away (seen as QUORUM_LOST and 16 s of silence).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.nats.leaders import Move, leader_of, move_leader, settled, spread
from shared import subjects
from shared.bus import Bus
from shared.ids import Partition
from shared.retry import Deadline

BUCKET_STREAMS = tuple(subjects.bucket_stream(bucket) for bucket in subjects.BUCKETS)


def all_streams(partitions: int) -> list[str]:
    """Every log and every bucket."""
    return [*(subjects.log_stream(Partition(number)) for number in range(partitions)), *BUCKET_STREAMS]


def even(leaders: Mapping[str, str], servers: Sequence[str]) -> list[Move]:
    """Logs and buckets are spread each by themselves: the logs are where the work is."""
    logs = {stream: leader for stream, leader in leaders.items() if stream not in BUCKET_STREAMS}
    buckets = {stream: leader for stream, leader in leaders.items() if stream in BUCKET_STREAMS}
    return [*spread(logs, servers), *spread(buckets, servers)]


async def leaders_of(bus: Bus, partitions: int, wait_s: float) -> dict[str, str]:
    """Who leads each stream; raises `Unavailable` if one has no leader for `wait_s`."""
    return {
        stream: await leader_of(bus, stream, Deadline.after(wait_s)) for stream in all_streams(partitions)
    }


async def all_settled(bus: Bus, partitions: int, deadline: Deadline) -> None:
    """Returns when any server may leave; raises `Unavailable` with a stream that is not there yet."""
    for stream in all_streams(partitions):
        await settled(bus, stream, deadline)


async def move_all_off(
    bus: Bus, server: str, servers: Sequence[str], partitions: int, deadline: Deadline
) -> int:
    """Make others lead everything that `server` leads; how many leaders moved. Raises `Unavailable`."""
    await all_settled(bus, partitions, deadline)
    leaders = await leaders_of(bus, partitions, deadline.left_s)
    others = [other for other in servers if other != server]
    moves = [move for move in even(leaders, others) if move.source == server]
    for move in moves:
        await move_leader(bus, move, deadline, anywhere=True)
    return len(moves)


async def spread_again(bus: Bus, servers: Sequence[str], partitions: int, deadline: Deadline) -> int:
    """Give every server its share of the leaders; how many moved. Raises `Unavailable`."""
    moves = even(await leaders_of(bus, partitions, deadline.left_s), servers)
    for move in moves:
        await move_leader(bus, move, deadline)
    return len(moves)
