"""Who keeps a stream, and which copies may take over."""

from __future__ import annotations

import pytest

from infra.nats.stream_info import Placement, Replica, StreamInfo, stream_info
from shared.bus import Bus, BusError
from shared.settings import CommonSettings
from shared.streams import ensure_streams

_STATE = {"messages": 0, "first_seq": 0, "last_seq": 0, "consumer_count": 0}


def test_copies_that_may_not_take_over_are_behind() -> None:
    """Neither a copy that lags too far, nor one whose server is away or has gone silent."""
    said = (
        {"name": "a", "current": True, "lag": 1, "active": 900_000_000},
        {"name": "b", "current": False},
        {"name": "c", "current": True, "offline": True},
        {"name": "d", "current": True, "active": 5_000_000_000},
    )
    replicas = tuple(Replica.model_validate(replica) for replica in said)
    assert Placement(leader="e", replicas=replicas).behind == ("b", "c", "d")


def test_an_answer_without_copies_is_complete() -> None:
    """A server that stands alone may leave them out."""
    assert StreamInfo.model_validate({"state": _STATE}).cluster == Placement()


async def test_a_real_server_answers(bus: Bus, settings: CommonSettings) -> None:
    """The one server leads; a stream that is not there is an error."""
    await ensure_streams(bus, settings)
    info = await stream_info(bus, "LOG_0")
    assert info.cluster.leader
    assert info.cluster.behind == ()
    with pytest.raises(BusError):
        await stream_info(bus, "LOG_9")
