"""`parley` commands as processes, forked from one that has everything imported and does nothing else.

Some hundred commands are typed in the tests, and starting the interpreter takes longer than most of them do.
`tests/infra/cli/test_archiver.py` and others start the real one.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import infra.cli

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [f"infra.cli.{module.name}" for module in pkgutil.iter_modules(infra.cli.__path__)]
)


def parley(
    arguments: Sequence[str], environment: Mapping[str, str], *, within_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command; raises `TimeoutExpired` if it does not end, and ends it."""
    words = ["parley", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = _FORKED.Process(target=_run, args=(words, dict(environment), output, errors))
        process.start()
        process.join(within_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, within_s, output.read_bytes(), errors.read_bytes())
        return subprocess.CompletedProcess(words, process.exitcode, output.read_text(), errors.read_text())


def _run(words: list[str], environment: dict[str, str], output: Path, errors: Path) -> None:
    for number, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    importlib.import_module("infra.cli").main()
