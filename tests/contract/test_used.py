"""Nothing is declared in vain: every metric moves somewhere, every setting is read somewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")
METRICS = {"Counter", "Gauge", "Histogram", "LoopCounter", "LoopHistogram"}


def trees(root: Path) -> dict[Path, ast.Module]:
    """Every module of the services."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {path: ast.parse(path.read_text()) for path in paths}


def used(modules: Iterable[ast.Module]) -> set[str]:
    """Names and attributes that are read anywhere."""
    nodes = [node for module in modules for node in ast.walk(module)]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    attributes = {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    return names | attributes


def metrics_of(module: ast.Module) -> list[str]:
    """The module's metrics, by the name that code has for them."""
    return [
        target.id
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name) and node.value.func.id in METRICS
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def settings_of(module: ast.Module) -> list[str]:
    """The fields of the module's settings classes."""
    return [
        node.target.id
        for owner in module.body
        if isinstance(owner, ast.ClassDef) and owner.name.endswith("Settings")
        for node in owner.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def test_every_metric_moves() -> None:
    """A metric that nothing touches would say 0 for ever, and be believed."""
    modules = trees(ROOT)
    touched = used(modules.values())
    declared = [name for module in modules.values() for name in metrics_of(module)]
    assert len(declared) > 30
    assert not [name for name in declared if name not in touched]


def test_every_setting_is_read() -> None:
    """Who sets it changes something."""
    modules = trees(ROOT)
    read = used(modules.values())
    declared = [name for module in modules.values() for name in settings_of(module)]
    assert len(declared) > 40
    assert not [name for name in declared if name not in read]


@pytest.mark.parametrize(
    ("source", "unused"),
    [
        ("A = Counter('a', 'A')", ["A"]),
        ("A = Counter('a', 'A')\nA.inc()", []),
        ("A = Gauge('a', 'A')\nA = 1", ["A"]),
        ("class EdgeSettings:\n    a: int = 1", ["a"]),
        ("class EdgeSettings:\n    a: int = 1\nprint(EdgeSettings().a)", []),
    ],
)
def test_what_is_in_vain_is_found(source: str, unused: list[str]) -> None:
    """The checks can fail."""
    module = ast.parse(source)
    declared = metrics_of(module) + settings_of(module)
    assert [name for name in declared if name not in used([module])] == unused
