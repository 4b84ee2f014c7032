"""Imports point inward only: the contracts of `.importlinter`, checked by import-linter itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a folder."""
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--config", str(config), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_contracts_are_kept() -> None:
    """No service imports another, cores are pure, the vocabulary needs no plumbing, nobody imports infra."""
    result = lint(ROOT, ROOT / ".importlinter")
    assert result.returncode == 0, result.stdout


def test_a_broken_contract_is_found(tmp_path: Path) -> None:
    """The check can fail: a service that imports another breaks it."""
    for name, source in (("edge", "import sequencer\n"), ("sequencer", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
    config = tmp_path / ".importlinter"
    config.write_text(
        "[importlinter]\nroot_packages =\n    edge\n    sequencer\n"
        "[importlinter:contract:services]\nname = independent\ntype = independence\n"
        "modules =\n    edge\n    sequencer\n"
    )
    assert lint(tmp_path, config).returncode != 0
