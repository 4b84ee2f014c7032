"""The edge's settings, read once from `PARLEY_*`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import CommonSettings


class EdgeSettings(CommonSettings):
    """Address, trust, limits, pace."""

    host: str = Field("127.0.0.1", description="Address on which the edge listens.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the edge; 0 takes a free one and logs it.")
    shared_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port that this edge serves together with the others of this machine, beside its own; "
        "0: none.",
    )
    node: str = Field("", max_length=64, description="Name of this node in `welcome`; empty: host and port.")

    jwt_secret: SecretStr = Field(
        SecretStr(""), description="Secret of HS256 tokens, at least 32 bytes; for development."
    )
    jwks_file: Path | None = Field(
        None,
        description="JWKS file with the public keys of RS256, ES256 and EdDSA tokens; re-read on change.",
    )
    jwt_issuer: str = Field("", description="Issuer that tokens must name; empty: any.")
    jwt_audience: str = Field("", description="Audience that tokens must name; empty: none is asked for.")
    origins: str = Field(
        "", description="Origins of pages that may connect, separated by commas; empty: the edge's own only."
    )

    frame_bytes_max: int = Field(
        131_072,
        ge=1024,
        le=1_048_576,
        description="Largest frame and HTTP body; a larger frame closes with 1009.",
    )
    text_bytes_max: int = Field(
        16_384, ge=1, le=131_072, description="Largest text of a message in bytes of UTF-8."
    )
    heartbeat_s: float = Field(20.0, gt=0, le=25, description="Seconds between two pings of a session.")
    stall_limit_s: float = Field(
        30.0, gt=0, description="Seconds for which a client may take no bytes before it is closed (4002)."
    )
    hello_deadline_s: float = Field(10.0, gt=0, description="Seconds within which the hello has to come.")
    token_grace_s: float = Field(
        25.0, ge=0, description="Seconds that a session outlives its token, for `refresh` to come."
    )

    connection_rate: float = Field(200.0, gt=0, description="Commands a second of one connection.")
    connection_burst: int = Field(400, ge=1, description="Commands of one connection at once.")
    user_rate: float = Field(200.0, gt=0, description="Commands a second of one user on this edge.")
    user_burst: int = Field(400, ge=1, description="Commands of one user on this edge at once.")
    channel_rate: float = Field(2000.0, gt=0, description="Events a second of one channel through this edge.")
    channel_burst: int = Field(4000, ge=1, description="Events of one channel through this edge at once.")
    sessions_rate: float = Field(
        1000.0,
        gt=0,
        description="New sessions a second; who comes faster is answered 503 before the upgrade.",
    )
    sessions_burst: int = Field(5000, ge=1, description="New sessions at once.")
    sessions_max: int = Field(20_000, ge=1, description="Sessions on this edge.")
    commands_in_flight: int = Field(
        256, ge=1, description="Commands of one session at work; then its frames wait in the socket."
    )
    commit_slow_s: float = Field(
        3.0,
        gt=0,
        le=25,
        description="Seconds without a prompt answer of a stream, after which new commits to it are refused.",
    )
    stream_commits_max: int = Field(
        2_000, ge=1, description="Commits of one stream that wait for JetStream; more are refused."
    )
    commits_max: int = Field(8_000, ge=1, description="The same for all streams together.")
    typing_members_max: int = Field(
        500, ge=1, description="Members of the largest channel that shows who is typing."
    )
    replay_events_max: int = Field(
        10_000, ge=1, description="Events of one channel that a resume sends; a larger hole is named instead."
    )
    channels_page: int = Field(
        200, ge=1, le=500, description="Channels in `welcome` and each `channels` frame."
    )
    subscriptions_max: int = Field(5000, ge=1, description="Channels of one session.")

    feeds_max: int = Field(20_000, ge=1, description="Channels that are active on this edge.")
    feed_linger_s: float = Field(
        60.0, gt=0, description="Seconds for which a channel without sessions stays active."
    )
    ring_entries_max: int = Field(
        1000, ge=1, description="Newest events of an active channel that are kept in memory."
    )
    ring_bytes_max: int = Field(
        1_000_000, ge=1, description="Bytes of an active channel's events that are kept in memory."
    )
    rings_bytes_max: int = Field(
        256_000_000, ge=1, description="Bytes of memory for the events of all active channels together."
    )
    drain_s: float = Field(
        5.0, ge=0, description="Seconds over which a stopping edge sends its sessions elsewhere."
    )

    @property
    def allowed_origins(self) -> frozenset[str]:
        """`origins` as a set."""
        return frozenset(part.strip().rstrip("/") for part in self.origins.split(",") if part.strip())
