"""`parley up`: the whole system on this machine."""

from __future__ import annotations

from infra.local.options import Options
from infra.local.system import run

_DEFAULTS = Options()


def up(options: Options = _DEFAULTS) -> None:
    """Run NATS, sequencer, archiver and edges until Ctrl-C; restart whatever dies."""
    run(options)
