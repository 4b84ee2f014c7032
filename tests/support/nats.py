"""A real nats-server for tests: JetStream in a directory of its own, killed and restarted at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from infra.local.lifeline import die_with_parent
from infra.nats.binary import nats_server_binary
from tests.support.ports import own_port

START_DEADLINE_S = 60.0


class NatsServer:
    """One server process. The port and the stored streams survive `kill` and `start`."""

    def __init__(self, directory: Path, *, config: Path | None = None, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or own_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.config = config
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; the server must be running."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start and return once clients are let in."""
        assert self._process is None, "the server is running"
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [str(nats_server_binary()), *self._arguments()]
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # one system call, nothing that locks
            )
        process = self._process
        self._until_it_greets(lambda: process.poll() is None)

    def kill(self) -> None:
        """SIGKILL, as a crash would end it; the directory stays."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: an orderly end."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill and start again on the same port and directory."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: the server is there and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # until then a thread of it may still answer

    def unpause(self) -> None:
        """SIGCONT after `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def copy_stream(self, stream: str) -> Path:
        """A copy of a stream's directory, as a backup would have it; the server is stopped meanwhile."""
        self.stop()
        copy = self.directory / f"copy-{stream}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._stream_directory(stream), copy)
        self.start()
        return copy

    def restore_stream(self, stream: str, copy: Path) -> None:
        """Put a copy of a stream's directory in the place of the newer one, under whatever runs."""
        self.stop()
        shutil.rmtree(self._stream_directory(stream))
        shutil.copytree(copy, self._stream_directory(stream))
        self.start()

    def _stream_directory(self, stream: str) -> Path:
        return self.directory / "jetstream" / "$G" / "streams" / stream

    def log(self) -> str:
        """Everything that the server has logged."""
        return (self.directory / "nats.log").read_text(errors="replace")

    def _arguments(self) -> list[str]:
        jetstream = ["-js", "-sd", str(self.directory)] if self.config is None else ["-c", str(self.config)]
        return ["-a", "127.0.0.1", "-p", str(self.port), *jetstream]

    def _until_it_greets(self, lives: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not _greets(self.port):
            if not lives() or time.monotonic() > deadline:
                raise RuntimeError(f"nats-server did not start:\n{self.log()[-3000:]}")
            time.sleep(0.01)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False
