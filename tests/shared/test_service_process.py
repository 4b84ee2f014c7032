"""The service runner as a process: signals, exit codes, the health port, nothing on standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from infra.local.lifeline import die_with_parent

PROGRAM = """
import asyncio, sys
from shared.errors import Misconfigured
from shared.service import Service, run, settings_or_exit
from shared.settings import CommonSettings

async def main(service: Service) -> None:
    async def last_words() -> None:
        service.health.set("bus", False)
    service.on_stop(last_words)
    service.health.set("bus", True)
    what = sys.argv[1]
    if what == "misconfigured":
        raise Misconfigured("set PARLEY_PARTITIONS back")
    if what == "fail":
        raise RuntimeError("bug")
    if what == "hang":
        service.on_stop(asyncio.Event().wait)
    if what != "end":
        await service.until_stopped()

sys.exit(run("sample", main, settings_or_exit(CommonSettings)))
"""


class Process:
    """The program above with one argument; its log lines can be waited for."""

    def __init__(self, what: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  # one system call, nothing that locks
        )

    def line(self, event: str) -> dict[str, object]:
        """The next log line of that event; fails at the end of the log."""
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line: dict[str, object] = json.loads(raw)
            if line["event"] == event:
                return line
        raise AssertionError(f"{event} was not logged")

    def end(self) -> tuple[int, str, str]:
        """The exit code and what else was written."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes to clean up."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.process.kill()
        process.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order_with_zero(started: list[Process], number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end a healthy service with 0, and only log lines were written (AT-68)."""
    process = Process("serve")
    started.append(process)
    health = process.line("service.started")["health"]
    with urllib.request.urlopen(f"{health}/readyz", timeout=30) as answer:
        assert answer.status == 200
    process.process.send_signal(number)
    assert process.line("service.stop_began")["asked"] is True
    assert process.line("service.stopped")["exit_code"] == 0
    assert process.end() == (0, "", "")


def test_while_it_stops_it_is_not_ready(started: list[Process]) -> None:
    """Between the signal and the end /readyz says 503; a second signal ends a hanging step at once."""
    process = Process("hang")
    started.append(process)
    health = process.line("service.started")["health"]
    process.process.send_signal(signal.SIGTERM)
    process.line("service.stop_began")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{health}/readyz", timeout=30)
    assert refused.value.code == 503
    process.process.send_signal(signal.SIGTERM)
    process.line("service.step_cancelled")
    assert process.end()[0] == 1


@pytest.mark.parametrize(("what", "code"), [("end", 0), ("fail", 1), ("misconfigured", 2)])
def test_the_exit_code_says_how_it_ended(started: list[Process], what: str, code: int) -> None:
    """0 ended, 1 failed, 2 will fail again until a setting changes; the last line says the same."""
    process = Process(what)
    started.append(process)
    assert process.line("service.stopped")["exit_code"] == code
    assert process.end()[0] == code


def test_a_wrong_variable_ends_with_one_line(started: list[Process]) -> None:
    """No traceback: the variable, and exit code 2."""
    process = Process("serve", PARLEY_REPLICAS="many")
    started.append(process)
    code, out, err = process.end()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("PARLEY_REPLICAS: ")


def test_a_taken_port_is_misconfigured(started: list[Process]) -> None:
    """Two services on one health port: the second says so and ends with 2."""
    first = Process("serve")
    started.append(first)
    port = first.line("service.started")["port"]
    second = Process("serve", PARLEY_METRICS_PORT=str(port))
    started.append(second)
    assert str(port) in str(second.line("service.misconfigured")["error"])
    assert second.end()[0] == 2
