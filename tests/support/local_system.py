"""The whole system as a person runs it: `python -m infra.local` in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.local.data_directory import DataDirectory
from infra.local.lifeline import die_with_parent
from infra.local.run_file import Run
from shared.errors import ParleyError
from tests.support import commands

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 60.0


class LocalSystem:
    """One supervisor and its children. The data stays when it stops, and `start` goes on with it."""

    def __init__(self, directory: Path, *options: str, archive: str = "") -> None:
        self.data = DataDirectory(directory / "data")
        self.said = directory / "said"
        self._options = options
        self._archive = {"PARLEY_ARCHIVE": archive} if archive else {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and return when everything is ready."""
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                self.command("-m", "infra.local", "--port", "0", "--nats-port", "0", *self._options),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=_environment() | self._archive,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # one system call, nothing that locks
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while (run := self.run()) is None or run.state != "ready":
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the system did not start:\n{self.said.read_text()[-3000:]}")
            time.sleep(0.05)

    def run(self) -> Run | None:
        """What runs; None if nothing does."""
        with contextlib.suppress(ParleyError, FileNotFoundError):
            return self.data.run()
        return None

    def pid(self, name: str) -> int:
        """The pid of a child."""
        run = self.run()
        assert run is not None
        pid = run.process(name).pid
        assert pid is not None, f"{name} is down"
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor alone."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """The supervisor's exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(STOP_DEADLINE_S)

    def stop(self) -> None:
        """The ordered stop; harmless if it has ended already."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self.wait()
        finally:
            self._process.kill()

    def parley(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `parley` command against this system; its output, with colours off and wide tables."""
        words = [*arguments, "--data", str(self.data.path)]
        done = commands.parley(words, _environment() | self._archive, within_s=60)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def command(self, *arguments: str) -> list[str]:
        """A Python command line with this system's data directory."""
        return [sys.executable, *arguments, "--data", str(self.data.path)]


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    return inherited | {"NO_COLOR": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
