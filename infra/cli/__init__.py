"""The `parley` command.

One module per command. To add one, write `infra/cli/<module>.py` with a function and add one line to
`_COMMANDS`; the module is imported only when its command runs.
"""

from __future__ import annotations

import sys

import cyclopts
from rich.console import Console

from shared.errors import ParleyError

_COMMANDS = (
    "infra.cli.up:up",
    "infra.cli.down:down",
    "infra.cli.status:status",
    "infra.cli.token:token",
    "infra.cli.nats_env:nats_env",
    "infra.cli.bench:bench",
)

app = cyclopts.App(name="parley", help="Durable, ordered, gap-free chat channels. Start with `parley up`.")
for _command in _COMMANDS:
    app.command(_command)


def main() -> None:
    """Entry point: an operating error is one line on stderr and exit code 1."""
    try:
        app()
    except ParleyError as error:
        Console(stderr=True).print(f"[red]error[/] {error.code}: {error.message}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
