"""One real service as a child process, killed and restarted at will."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from infra.local.lifeline import die_with_parent
from tests.support.ports import own_port
from tests.support.waiting import eventually

START_DEADLINE_S = 120.0
"""A machine that does much else takes its time with the imports."""


class ServiceProcess:
    """`python -m <module>` with settings as `PARLEY_*` variables; ready when `/readyz` says so."""

    def __init__(self, module: str, log: Path, **settings: str) -> None:
        self.module = module
        self.log = log
        self.port = own_port()
        own = {"PARLEY_PORT": str(self.port)} if module == "edge" else {}
        self._settings = {"PARLEY_METRICS_PORT": str(self.port), **own, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; it must be running."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and not ended since."""
        return self._process is not None

    async def start(self) -> None:
        """Start and wait until it is ready."""
        self._spawn()
        try:
            await eventually(self._ready, within_s=START_DEADLINE_S)
        except AssertionError as error:
            raise AssertionError(f"{self.module} is not ready:\n{self.log.read_text()[-4000:]}") from error

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env={**os.environ, **self._settings},
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # one system call, nothing that locks
            )

    def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """End it, by default as a crash would; returns the exit code."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        try:
            return self._process.wait(30)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.module} ended:\n{self.log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False
