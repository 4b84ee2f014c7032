"""Imports point inward only: the contracts of `.importlinter`, checked by import-linter itself."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")
CONTRACTS = ROOT / ".importlinter"
VIOLATIONS = {
    "services": ("edge/app.py", "import sequencer"),
    "shared": ("shared/bus.py", "import archiver"),
    "infra": ("shared/settings.py", "import infra"),
    "operators": ("infra/__init__.py", "import edge.app"),
    "vocabulary": ("shared/events.py", "import shared.settings"),
    "cores": ("edge/core/__init__.py", "import shared.bus"),
    "client": ("shared/client/__init__.py", "import shared.service"),
}
"""For each contract a line that breaks it, and only it."""


def lint(folder: Path) -> tuple[int, str]:
    """Exit code and report of import-linter in a folder."""
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--config", str(folder / ".importlinter"), "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout


def contracts() -> dict[str, str]:
    """The names of the contracts by their ids."""
    config = configparser.ConfigParser()
    config.read(CONTRACTS)
    sections = [section for section in config.sections() if ":contract:" in section]
    return {section.rpartition(":")[2]: config[section]["name"] for section in sections}


def test_contracts_are_kept() -> None:
    """No service imports another, cores are pure, the vocabulary needs no plumbing, nobody imports infra."""
    code, report = lint(ROOT)
    assert code == 0, report


def test_every_module_of_shared_is_on_one_side() -> None:
    """A new module is vocabulary or plumbing: forgetting to say so would exempt it."""
    config = configparser.ConfigParser()
    config.read(CONTRACTS)
    vocabulary = config["importlinter:contract:vocabulary"]
    listed = {*vocabulary["source_modules"].split(), *vocabulary["forbidden_modules"].split()}
    modules = {f"shared.{path.stem}" for path in (ROOT / "shared").glob("[a-z]*.py")}
    assert listed == modules | {"shared.client"}


def test_every_contract_is_proved_to_break() -> None:
    """A contract without a violation below could be empty."""
    assert set(VIOLATIONS) == set(contracts())


@pytest.fixture(scope="module")
def empty_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's modules without their content: every contract holds."""
    folder = tmp_path_factory.mktemp("tree")
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        empty = folder / path.relative_to(ROOT)
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
    shutil.copy(CONTRACTS, folder)
    return folder


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_broken_contract_is_found(empty_tree: Path, contract: str) -> None:
    """Each contract breaks when somebody writes the import that it forbids, and no other does."""
    path, line = VIOLATIONS[contract]
    (empty_tree / path).write_text(line + "\n")
    code, report = lint(empty_tree)
    (empty_tree / path).write_text("")
    assert code != 0
    assert f"{contracts()[contract]} BROKEN" in report
    assert report.count(" BROKEN") == 1, report
