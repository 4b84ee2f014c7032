"""House rules on the whole tree: sizes, names, pure cores, bounded queues, tests that mirror modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import rules

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
CORES = [path for path in SOURCES if path.parent.name == "core"]

LARGE = {"edge/core/frames.py": 310}
"""Files that may be larger, and how large: one list of frames reads better than two halves."""


def name_of(path: Path) -> str:
    """A path as it is written in complaints."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sources_keep_the_rules(path: Path) -> None:
    """Sizes, names, no leftovers, no queue without a bound."""
    source = path.read_text()
    lines_max = LARGE.get(name_of(path), rules.FILE_LINES_MAX)
    assert not rules.too_long(source, lines_max)
    assert not rules.badly_named(path.stem, source)
    assert not rules.leftovers(source)
    assert not rules.unbounded(source)


@pytest.mark.parametrize("path", CORES, ids=name_of)
def test_cores_are_pure(path: Path) -> None:
    """A core imports no clock, chance, loop, log, file or socket."""
    assert not rules.impure(path.read_text())


@pytest.mark.parametrize("path", CORES, ids=name_of)
def test_every_core_module_is_tested(path: Path) -> None:
    """Each core module has a test file of its own, or another test names it."""
    if path.name == "__init__.py":
        return
    module = name_of(path).removesuffix(".py").replace("/", ".")
    package, _, stem = module.rpartition(".")
    tests = [test.read_text() for test in (ROOT / "tests").rglob("test_*.py")]
    assert any(module in test or f"from {package} import {stem}" in test for test in tests) or any(
        f"from {package} import" in test and stem in test for test in tests
    ), f"nothing tests {module}"


def test_the_rules_can_fail() -> None:
    """Each rule finds what it is there for."""
    assert rules.too_long("x = 1\n" * 301)
    assert rules.too_long("def f():\n" + "    x = 1\n" * 60)
    assert rules.badly_named("utils", "")
    assert rules.badly_named("feed", "class FeedManager: ...")
    assert rules.impure("from asyncio import sleep")
    assert rules.leftovers("x = 1  # TODO later")
    assert rules.unbounded("q = asyncio.Queue()")
