"""What the documents promise is what the code does: nothing undocumented, nothing out of date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from edge.api import asyncapi, files
from edge.core.wire_errors import CLOSE_CODES
from infra.cli import app
from shared.settings import documented
from tests.support import reference

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REFERENCE = reference.REFERENCE.read_text()
SOURCES = [path for package in reference.PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("name", sorted(files.current()))
def test_api_documents_are_current(name: str) -> None:
    """The committed document is what the models say now; `just api` writes it."""
    assert files.path_of(name).read_text() == files.current()[name], "run `just api`"


def test_reference_is_current() -> None:
    """The committed reference is what the code says now; `just api` writes it.

    In a process of its own, because other tests may have declared errors or metrics.
    """
    script = "from tests.support import reference; print(reference.render(), end='')"
    rendered = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert rendered.stdout == REFERENCE, "run `just api`"


@pytest.mark.parametrize("name", sorted(files.current()))
def test_references_in_api_documents_resolve(name: str) -> None:
    """Every `$ref` leads to something."""
    document = json.loads(files.current()[name])
    references = set(_references(document))
    assert references
    for pointer in references:
        here = document
        for part in pointer.removeprefix("#/").split("/"):
            assert part in here, pointer
            here = here[part]


def test_every_frame_is_in_the_asyncapi_document() -> None:
    """Frames of both directions are there, each with its answers."""
    document = asyncapi.document()
    operations = document["operations"]
    assert isinstance(operations, dict)
    assert {asyncapi.type_of(frame) for frame in asyncapi.CLIENT_FRAMES} <= operations.keys()
    assert set(asyncapi.ANSWERS) == set(asyncapi.CLIENT_FRAMES)


def test_every_settings_class_is_in_the_reference() -> None:
    """A settings class that the reference does not list would be undocumented."""
    reference.import_all()
    listed = set(reference.SETTINGS.values())
    for settings in _below(BaseSettings):
        if settings.__module__.partition(".")[0] in reference.PACKAGES:
            assert settings in listed, f"{settings.__name__} is not in tests/support/reference.py"


@pytest.mark.parametrize("settings", reference.SETTINGS.values(), ids=lambda it: it.__name__)
def test_every_setting_says_what_it_means(settings: type[BaseSettings]) -> None:
    """Every setting has a description that is a sentence."""
    for row in documented(settings):
        assert row.description.endswith("."), row.variable


def test_every_environment_variable_in_the_code_is_documented() -> None:
    """A `PARLEY_…` name that stands in the code stands in the README or the reference."""
    named = {name for path in SOURCES for name in re.findall(r"PARLEY_[A-Z][A-Z_]*[A-Z]", path.read_text())}
    assert not {name for name in named if f"`{name}`" not in REFERENCE + README}


def test_every_metric_in_the_code_is_documented() -> None:
    """A `parley_…` metric that a module declares stands in the reference."""
    pattern = re.compile(r'(Counter|Gauge|Histogram)\(\s*"(parley_\w+)"')
    found = [match for path in SOURCES for match in pattern.findall(path.read_text())]
    assert found
    for kind, name in found:
        exposed = f"{name.removesuffix('_total')}_total" if kind == "Counter" else name
        assert f"| `{exposed}` | {kind.lower()} |" in REFERENCE


def test_every_error_code_is_documented() -> None:
    """A code of the tree of errors stands in the reference, with what it means."""
    reference.import_all()
    for kind in reference.error_kinds():
        assert f"| `{kind.code}` |" in REFERENCE
        assert kind.__doc__, kind


def test_every_close_code_is_documented() -> None:
    """A close code stands in the reference and in the AsyncAPI document."""
    rows = files.current()[files.ASYNCAPI]
    for row in CLOSE_CODES:
        assert f"| {row.code} | `{row.name}` |" in REFERENCE
        assert f'"code": {row.code},' in rows


@pytest.mark.parametrize("service", ["edge", "sequencer", "archiver", "shared"])
def test_every_service_explains_its_design(service: str) -> None:
    """DESIGN.md stands beside the code."""
    assert (ROOT / service / "DESIGN.md").stat().st_size > 500


def test_recipes_in_the_readme_exist() -> None:
    """Every `just …` of the README is in the justfile."""
    recipes = set(re.findall(r"^([a-z][\w-]*)[^:\n]*:(?!=)", (ROOT / "justfile").read_text(), re.MULTILINE))
    assert set(_commands("just")) <= recipes


def test_parley_commands_in_the_readme_exist() -> None:
    """Every `parley …` of the README is a command, and every command is in the README."""
    commands = {name for name in app if not name.startswith("-")}
    assert set(_commands("parley")) == commands


def test_links_of_the_readme_lead_somewhere() -> None:
    """Relative links name files that exist."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def _commands(program: str) -> list[str]:
    """The words after a program in the README's code, inline or in blocks."""
    code = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", README, re.DOTALL)
    return [
        word
        for block, inline in code
        for word in re.findall(
            rf"(?:^|&& |\$\(|uv run ){program} ([a-z][\w-]*)", block or inline, re.MULTILINE
        )
    ]


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _below(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
