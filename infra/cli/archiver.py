"""`parley archiver`: one archiver by itself, beside a system that runs elsewhere."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from cyclopts import Parameter


def archiver(
    *,
    reader: Annotated[
        bool, Parameter(negative=(), help="Answer for an archive that others write, and write none.")
    ] = False,
) -> None:
    """Run an archiver in this process; its settings are `PARLEY_…` variables (infra/REFERENCE.md)."""
    command = [sys.executable, "-m", "archiver", *(["--reader"] if reader else [])]
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no word of it from elsewhere
