"""`parley nats-env`: lets the NATS CLI in, as the operator."""

from __future__ import annotations

from shlex import quote

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory


def nats_env(*, data: DataOption = DATA_DEFAULT) -> None:
    """Print shell exports for the NATS CLI: `eval "$(parley nats-env)"`, then `nats stream ls`."""
    settings = data_directory(data).operator_settings()
    print(f"export NATS_URL={quote(settings.nats_url)}")
    print(f"export NATS_USER={quote(settings.nats_user)}")
    print(f"export NATS_PASSWORD={quote(settings.nats_password)}")
