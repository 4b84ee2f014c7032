"""Settings: from the environment, checked once, frozen, each described."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from shared.errors import Misconfigured
from shared.settings import CommonSettings, documented, load


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field is read from its PARLEY_ variable."""
    monkeypatch.setenv("PARLEY_NATS_URL", "nats://a:1,nats://b:2")
    monkeypatch.setenv("PARLEY_REPLICAS", "3")
    settings = CommonSettings()
    assert (settings.nats_url, settings.replicas) == ("nats://a:1,nats://b:2", 3)


def test_settings_are_frozen() -> None:
    """Read once, never changed."""
    with pytest.raises(ValidationError):
        CommonSettings().partitions = 9  # type: ignore[misc]


def test_a_password_is_not_shown() -> None:
    """Whoever logs settings must not log a secret."""
    assert "hunter2" not in repr(CommonSettings(nats_password="hunter2"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PARTITIONS", "0"), ("PARTITIONS", "1025"), ("REPLICAS", "9"), ("DURABILITY", "hope"),
     ("LOG_LEVEL", "loud"), ("METRICS_PORT", "70000"), ("TRACE_RATIO", "2"), ("NATS_URL", "")],
)  # fmt: skip
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The error says which variable to change."""
    monkeypatch.setenv(f"PARLEY_{variable}", value)
    with pytest.raises(Misconfigured, match=f"PARLEY_{variable}"):
        load(CommonSettings)


def test_the_defaults_are_valid() -> None:
    """A process starts without any variable."""
    assert load(CommonSettings) == CommonSettings()


def test_every_setting_is_described() -> None:
    """The table of settings has a sentence for each variable."""
    rows = documented(CommonSettings)
    assert len({row.variable for row in rows}) == len(CommonSettings.model_fields)
    assert all(row.variable.startswith("PARLEY_") and row.description.endswith(".") for row in rows)


def test_a_service_adds_its_own() -> None:
    """A derived class documents the common settings and its own under the same prefix."""

    class Sample(CommonSettings):
        model_config = SettingsConfigDict()
        size_max: int = Field(3, description="Size.")

    assert documented(Sample)[-1] == ("PARLEY_SIZE_MAX", "3", "Size.")
