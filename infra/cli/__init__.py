"""The `parley` command.

One module per command. To add one, write `infra/cli/<module>.py` with a function and add one line to
`_COMMANDS`; the module is imported only when its command runs.
"""

from __future__ import annotations

import sys

import cyclopts
from rich.console import Console

from infra.cli.quiet import only_errors_are_logged
from shared.errors import ParleyError

_COMMANDS = (
    "infra.cli.up:up",
    "infra.cli.down:down",
    "infra.cli.status:status",
    "infra.cli.rebalance:rebalance",
    "infra.cli.drain:drain",
    "infra.cli.restart:restart",
    "infra.cli.new_epoch:new_epoch",
    "infra.cli.token:token",
    "infra.cli.nats_env:nats_env",
    "infra.cli.archiver:archiver",
    "infra.cli.bench:bench",
    "infra.cli.send:send",
    "infra.cli.tail:tail",
    "infra.cli.history:history",
    "infra.cli.search:search",
    "infra.cli.sql:sql",
    "infra.cli.verify:verify",
    "infra.cli.replay:replay",
    "infra.cli.export:export",
    "infra.cli.erase:erase",
    "infra.cli.retention:retention",
)
_IMPORTS = ("infra.cli.import_slack:slack",)

app = cyclopts.App(name="parley", help="Durable, ordered, gap-free chat channels. Start with `parley up`.")
for _command in _COMMANDS:
    app.command(_command)
_imports = cyclopts.App(name="import", help="Bring in what was said elsewhere.")
for _command in _IMPORTS:
    _imports.command(_command)
app.command(_imports)


def main() -> None:
    """Entry point: an operating error is one line on stderr and exit code 1."""
    only_errors_are_logged()
    try:
        app(sys.argv[1:])
    except ParleyError as error:
        Console(stderr=True).print(f"[red]error[/] {error.code}: {error.message}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
