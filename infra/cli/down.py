"""`parley down`: stops what `parley up` runs."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from shared.errors import Unavailable
from shared.retry import Deadline

_POLL_S = 0.1
_DEADLINE_S = 70.0


def down(*, data: DataOption = DATA_DEFAULT) -> None:
    """Stop the system in order and wait until it has stopped. Nothing running is fine too."""
    directory = data_directory(data)
    if not directory.running:
        print(f"Parley does not run in {directory.path}")
        return
    supervisor = directory.run().supervisor
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    deadline = Deadline.after(_DEADLINE_S)
    while directory.running:
        if deadline.passed:
            raise Unavailable(f"the supervisor (pid {supervisor}) has not stopped within {_DEADLINE_S:g} s")
        time.sleep(_POLL_S)
    print("stopped")
