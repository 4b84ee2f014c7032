"""Looks for a text in every file below a directory, as it stands there and behind Parquet's compression."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def traces(directory: Path, texts: Iterable[str]) -> list[str]:
    """The files that hold any of these texts, each with the first text that it holds."""
    wanted = [text.encode() for text in texts]
    return [
        f"{path.relative_to(directory)}: {held.decode()}"
        for path in sorted(directory.rglob("*"))
        if path.is_file() and (held := _held(path, wanted)) is not None
    ]


def _held(path: Path, wanted: list[bytes]) -> bytes | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # it is being removed
        return None
    if path.suffix == ".parquet":
        content += _columns(content)
    return next((text for text in wanted if text in content), None)


def _columns(content: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(content))
    texts = [
        value
        for field in table.schema
        if pa.types.is_string(field.type)
        for value in table.column(field.name).to_pylist()
        if value
    ]
    return "\n".join(texts).encode()
