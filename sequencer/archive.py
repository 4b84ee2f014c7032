"""Where channels stand in the archive, which is what is left of a trimmed log without checkpoints.

The archive counts by itself, with the same fold, so its heads are as good as checkpoints, if three things
hold: it archived this log (the epoch), it reaches to where the log begins now, and wherever one of its heads
is still in the log the log has an event of that channel there (the ledger looks at each of them).
"""

from __future__ import annotations

import asyncio

import structlog

from shared.bus import Bus
from shared.errors import InvalidId, LogRegressed, Unavailable
from shared.failures import reply_of
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, StreamSeq, WorkspaceId
from shared.records import ArchivedHeads, ArchivedHeadsRequest, Checkpoint
from shared.retry import Deadline, delays
from shared.subjects import archive_subject, channel_subject, parse_channel_subject, partition_of

PATIENCE_S = 15.0
"""How long an archiver is waited for that does not answer: it may be starting as we are."""

PAGE_TIMEOUT_S = 5.0
_log = structlog.get_logger()


async def archived_heads(
    bus: Bus, partition: Partition, partitions: int, *, epoch: Epoch, upto: StreamSeq
) -> dict[ChannelKey, Checkpoint]:
    """A checkpoint of every channel with an event up to `upto`, at that event or at a later one.

    Raises `LogRegressed` if the archive has not got that, of another log, or does not answer.
    """
    found: dict[ChannelKey, Checkpoint] = {}
    after: tuple[WorkspaceId, ChannelId] | None = None
    more = True
    while more:
        page = await _page(bus, partition, ArchivedHeadsRequest(after=after, upto=upto, epoch=epoch))
        if page.epoch != epoch:
            raise LogRegressed(f"the archive is one of epoch {page.epoch}, not of {epoch}")
        if page.watermark < upto:
            raise LogRegressed(f"the archive ends at {page.watermark}")
        for head in page.heads:
            key = ChannelKey(head.workspace, head.channel)
            if _is_numbered(key, partition, partitions):
                found[key] = Checkpoint(seq=head.seq, stream_seq=head.stream_seq, state=head.state)
            after = key
        more = page.more
    return found


async def _page(bus: Bus, partition: Partition, request: ArchivedHeadsRequest) -> ArchivedHeads:
    waits, deadline = delays(first_s=0.1, cap_s=2.0), Deadline.after(PATIENCE_S)
    subject = archive_subject(partition, "heads")
    while True:
        try:
            body = await bus.request(subject, request.model_dump_json().encode(), timeout_s=PAGE_TIMEOUT_S)
            return reply_of(body, ArchivedHeads, may_refuse=False)
        except Unavailable as error:
            if deadline.passed:
                raise LogRegressed(f"the archive does not answer ({error.message})") from error
            _log.warning("archive.not_answered", partition=partition, error=error.message)
            await asyncio.sleep(min(next(waits), deadline.left_s))


def _is_numbered(key: ChannelKey, partition: Partition, partitions: int) -> bool:
    """The archive keeps what is on stray subjects too; the ledger does not."""
    try:
        parse_channel_subject(channel_subject(partition, key))
    except InvalidId:
        return False
    return partition_of(key, partitions) == partition
