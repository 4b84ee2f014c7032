"""Where the documents are, and what has to be in them."""

from __future__ import annotations

import json
from pathlib import Path

from edge.api import asyncapi, openapi

ASYNCAPI = "asyncapi.json"
OPENAPI = "openapi.json"


def path_of(name: str) -> Path:
    """The file beside this one."""
    return Path(__file__).with_name(name)


def current() -> dict[str, str]:
    """The text of every document as the models stand now."""
    documents = {ASYNCAPI: asyncapi.document(), OPENAPI: openapi.document()}
    return {name: json.dumps(it, indent=1, ensure_ascii=False) + "\n" for name, it in documents.items()}
