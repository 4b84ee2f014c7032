"""Looks for texts in the bytes of files: as they stand there, as JSON writes them, and behind compression."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from infra.erasure.named import partitions_of
from shared.archive_files import epochs_set_aside
from shared.archive_manifest import partition_of_dir
from shared.archive_store import LocalStore, Store
from shared.ids import Epoch, Partition, StreamSeq

CHUNK_BYTES = 16 * 1024 * 1024
INDEX = ".search.sqlite"
"""In the name of a search index: it has words in lower case, and shares the beginnings of words."""


class Needles:
    """The texts that must not be found. `longest`: how much of a chunk the next one has to repeat."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._forms: dict[bytes, str] = {}
        for text in texts:
            for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
                self._forms.setdefault(form.encode(), text)
        self._folded = {form.lower(): text for form, text in self._forms.items()}
        self.longest = max((len(form) for form in self._forms), default=0)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def within(self, content: bytes, *, folded: bool = False) -> str | None:
        """The first text that the content holds."""
        forms, searched = (self._folded, content.lower()) if folded else (self._forms, content)
        return next((text for form, text in forms.items() if form in searched), None)


def traces_below(directory: Path, needles: Needles) -> Iterator[tuple[str, str]]:
    """The files below a directory that hold a text, each with the first one; what vanishes is skipped."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            try:
                held = _held_by(path, needles)
            except FileNotFoundError:
                continue
            if held is not None:
                yield str(path), held


class Index(NamedTuple):
    """A search index, how far it is, and whether it still has to be written anew without what was erased."""

    path: str
    partition: Partition | None
    epoch: Epoch
    stream_seq: StreamSeq
    is_unpurged: bool


def indexes_below(directory: Path) -> Iterator[Index]:
    """The search indexes below a directory."""
    for path in sorted(directory.rglob(f"*{INDEX}")):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            query = "SELECT epoch, stream_seq, erased > purged FROM position"
            for epoch, stream_seq, is_unpurged in connection.execute(query).fetchmany(1):
                partition = partition_of_dir(path.name.removesuffix(INDEX))
                yield Index(str(path), partition, epoch, stream_seq, bool(is_unpurged))


def traces_in(store: Store, needles: Needles) -> Iterator[tuple[str, str]]:
    """The same for the files of an archive that is no directory, and of those that were set aside in it."""
    for archive in (store, *epochs_set_aside(store)):
        for partition in partitions_of(archive):
            for folder in ("data", "manifest"):
                for name in sorted(partition.names(folder)):
                    try:
                        content = partition.read(f"{folder}/{name}")
                    except FileNotFoundError:
                        continue
                    held = needles.within(content) or _behind_compression(name, content, needles)
                    if held is not None:
                        yield f"{partition.location}/{folder}/{name}", held


def is_directory(store: Store) -> Path | None:
    """Where the store is on this machine, if it is."""
    return store.directory if isinstance(store, LocalStore) else None


def _held_by(path: Path, needles: Needles) -> str | None:
    folded, kept = INDEX in path.name, b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            held = needles.within(kept + chunk, folded=folded)
            if held is not None:
                return held
            kept = (kept + chunk)[-needles.longest :]
    return _behind_compression(path.name, path.read_bytes(), needles) if path.suffix == ".parquet" else None


def _behind_compression(name: str, content: bytes, needles: Needles) -> str | None:
    if not name.endswith(".parquet"):
        return None
    try:
        file = pq.ParquetFile(io.BytesIO(content))
    except pa.ArrowInvalid:  # half of one, whose bytes were looked at
        return None
    for batch in file.iter_batches():
        for column in batch.columns:
            if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
                values = column.cast(pa.binary()).drop_null().to_pylist()
                if (held := needles.within(b"\n".join(values))) is not None:
                    return held
    return None
