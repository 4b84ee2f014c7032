"""Settings of the sequencer."""

from __future__ import annotations

from pydantic import Field

from shared.settings import CommonSettings


class SequencerSettings(CommonSettings):
    """How far behind checkpoints and directory may be, and how much may be under way at once."""

    checkpoint_interval_s: float = Field(
        2.0, gt=0, le=60, description="Seconds between two rounds of writing the checkpoints that changed."
    )
    heads_interval_s: float = Field(
        1.0, gt=0, le=60, description="Seconds between two broadcasts of the heads that changed."
    )
    directory_linger_s: float = Field(
        0.05,
        ge=0,
        le=5,
        description="Seconds for which changes of membership gather before they are written.",
    )
    directory_pending_max: int = Field(
        50_000,
        ge=1,
        description="Unwritten directory entries at which reading the logs pauses.",
    )
    writes_in_flight_max: int = Field(
        64, ge=1, le=1024, description="Writes under way at once to each of the sequencer's two buckets."
    )
