"""What JetStream says about a stream, as far as an operator needs it: contents, leader, copies."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shared.bus import Bus

SILENT_MAX_S = 3.0
"""The servers speak once a second; JetStream itself calls a silent one current for ten."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StreamState(_Answer):
    """What the stream holds."""

    messages: int
    first_seq: int
    last_seq: int
    consumer_count: int
    num_subjects: int = 0


class Replica(_Answer):
    """A copy that does not lead, as JetStream describes it."""

    name: str
    current: bool = False
    offline: bool = False
    lag: int = 0
    """Operations that it has yet to apply."""
    silent_ns: int = Field(0, validation_alias="active")
    """How long the leader has not heard of it."""

    @property
    def ready(self) -> bool:
        """Whether it could take over now and nothing would be missing."""
        return self.current and not self.offline and self.silent_ns < SILENT_MAX_S * 1e9


class Placement(_Answer):
    """Who keeps the stream; without a leader nothing can be written."""

    leader: str | None = None
    replicas: tuple[Replica, ...] = ()

    @property
    def behind(self) -> tuple[str, ...]:
        """The servers whose copies may not take over."""
        return tuple(replica.name for replica in self.replicas if not replica.ready)


class StreamInfo(_Answer):
    """The answer to `STREAM.INFO`."""

    state: StreamState
    cluster: Placement = Placement()


async def stream_info(bus: Bus, stream: str) -> StreamInfo:
    """Ask the stream's leader. Raises `BusError`, or `Unavailable` if it has none for 10 s."""
    return StreamInfo.model_validate(await bus.api(f"STREAM.INFO.{stream}", {}))
