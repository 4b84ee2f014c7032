"""What an edge asks archivers, and what it makes of a refusal."""

from __future__ import annotations

import pytest

from edge.archive import Archive
from shared.bus import Bus
from shared.errors import BadRequest, Unavailable
from shared.ids import Epoch, Seq, StreamSeq
from shared.subjects import archive_subject, partition_of
from tests.support.archive import ALICE, key_of, posted


async def test_a_refusal_is_never_the_clients_fault(fresh_bus: Bus) -> None:
    """These questions are the edge's own: whatever is refused, the archive is unavailable to its clients."""
    key = key_of("tea")

    async def refuse(_: bytes) -> bytes:
        raise BadRequest("no such thing")

    for operation in ("ids", "history", "count"):
        subject = archive_subject(partition_of(key, 2), operation)
        await fresh_bus.serve(subject, refuse, queue="archive", concurrency_max=8)
    archive = Archive(fresh_bus, 2, lambda _: Epoch("e1"))
    with pytest.raises(Unavailable, match="no such thing"):
        await archive.ids(key, [(ALICE, posted("x").id)], StreamSeq(1))
    with pytest.raises(Unavailable, match="no such thing"):
        await archive.history(key, after=Seq(0), limit=1, applied=StreamSeq(1))
    with pytest.raises(Unavailable, match="no such thing"):
        await archive.count(key, Seq(1), StreamSeq(1))
