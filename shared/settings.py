"""Settings that every service reads: once, from `PARLEY_*` environment variables, frozen from then on.

A service derives its own class from `CommonSettings`. Every field has a description: `documented` lists
them for the README, and a test fails for a field without one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Misconfigured

ENV_PREFIX = "PARLEY_"
S = TypeVar("S", bound=BaseSettings)


class CommonSettings(BaseSettings):
    """What all services need: where NATS is, how the logs are cut, how to say what happens."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        min_length=1,
        description="NATS servers, separated by commas: one that answers is used, another when it fails.",
    )
    nats_user: str = Field("", description="User of this service on the NATS server; empty: none.")
    nats_password: str = Field("", repr=False, description="Password of that user.")
    partitions: int = Field(
        8,
        ge=1,
        le=1024,
        description="Number of logs that share the channels (P). Fixed when the system first starts.",
    )
    replicas: int = Field(
        1, ge=1, le=5, description="NATS servers that hold a copy of every log: 1, or 3 or 5 of a cluster."
    )
    durability: Literal["power", "process", "quorum"] = Field(
        "power",
        description="Which failure an acknowledged message survives; the NATS server is configured for it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Log lines below this level are not written."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="One JSON object a line, or coloured lines for people."
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address on which a service without a public port serves health and metrics."
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port for /healthz, /readyz and /metrics there; 0 takes a free one and logs it.",
    )
    stop_deadline_s: float = Field(
        20.0, gt=0, le=600, description="Seconds from SIGTERM until whatever still runs is cancelled."
    )
    trace_exporter: Literal["none", "console", "otlp"] = Field(
        "none",
        description="Where finished spans go; otlp needs the package opentelemetry-exporter-otlp-proto-http.",
    )
    trace_ratio: float = Field(
        0.01, ge=0.0, le=1.0, description="Share of new traces that are recorded; a caller's choice is kept."
    )


def load(settings: type[S]) -> S:
    """Read settings from the environment; raises `Misconfigured` that names every wrong variable."""
    try:
        return settings()
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        wrong = [f"{prefix}{part['loc'][0]}".upper() + f": {part['msg']}" for part in error.errors()]
        raise Misconfigured("; ".join(wrong)) from error


class Documented(NamedTuple):
    """One line of the table of settings."""

    variable: str
    default: str
    description: str


def documented(settings: type[BaseSettings]) -> list[Documented]:
    """Every setting of a class as its environment variable, default and description."""
    prefix = settings.model_config.get("env_prefix", "")
    return [
        Documented(f"{prefix}{name}".upper(), _shown(field.get_default()), field.description or "")
        for name, field in settings.model_fields.items()
    ]


def _shown(default: object) -> str:
    if isinstance(default, SecretStr):
        return ""
    return "" if default is None else str(default)
