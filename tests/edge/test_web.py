"""The page's files: small, self-contained, and within what its content security policy allows."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "edge" / "web"
FILES = sorted(WEB.iterdir())
MODULES = [path for path in FILES if path.suffix == ".js"]
PAGE = (WEB / "index.html").read_text()
TRANSFER_BYTES_MAX = 60_000
LINES_MAX = 300


def test_the_page_is_small() -> None:
    """Everything together stays under 60 kB as it is transferred."""
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) < TRANSFER_BYTES_MAX


def test_every_module_is_loaded_at_once() -> None:
    """Each module but the first is preloaded, so that none waits for another's imports."""
    preloaded = set(re.findall(r'rel="modulepreload" href="([^"]+)"', PAGE))
    assert preloaded == {path.name for path in MODULES} - {"main.js"}


def test_the_page_has_no_inline_code() -> None:
    """No script, style or handler stands in the page itself, so that its policy needs no exception."""
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", PAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda it: it.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """No file refers to another host; names of XML vocabularies are no addresses."""
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""["'(]\s*(?:https?:)?//[a-z0-9]""", text)


@pytest.mark.parametrize("path", MODULES, ids=lambda it: it.name)
def test_modules_keep_the_house_rules(path: Path) -> None:
    """Each module says first what it is for, stays short, and never parses text as HTML."""
    text = path.read_text()
    assert text.startswith("// ")
    assert text.count("\n") <= LINES_MAX
    assert not re.search(r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b", text)
