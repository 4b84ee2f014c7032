"""Reads a Slack export: a zip that anybody may have made, so every size is bounded and no name is trusted.

Nothing is written to the disk. What cannot be read is counted and left out; the rest goes on.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from infra.slack.tally import Tally
from shared.errors import BadRequest
from shared.events import ChannelKind

FILE_BYTES_MAX = 64 * 1024 * 1024
"""One JSON file, inflated."""

FILES_MAX = 500_000
CHANNELS_MAX = 50_000

Record = Mapping[str, object]
_LISTS: dict[str, ChannelKind] = {
    "channels.json": "public",
    "groups.json": "private",
    "mpims.json": "private",
    "dms.json": "direct",
}
_ELSEWHERE = frozenset(
    {*_LISTS, "users.json", "integration_logs.json", "canvases.json", "file_conversations.json"}
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A channel of the export, and the folder that holds its days."""

    kind: ChannelKind
    folder: str
    record: Record


class Export:
    """An open export. Use it as a context manager; raises `BadRequest` if it is no zip at all."""

    def __init__(self, path: Path, tally: Tally, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise BadRequest(f"{path} cannot be read as a zip: {error}") from error
        self._tally = tally
        self._file_bytes_max = file_bytes_max
        self._days: dict[str, list[zipfile.ZipInfo]] = {}
        self._top: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist()[:FILES_MAX]:
            self._sort_in(info)
        tally.skip("file beyond the limit of files", len(self._zip.infolist()) - FILES_MAX)

    def __enter__(self) -> Export:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._zip.close()
        return False

    def users(self) -> list[Record]:
        """Every user of the export."""
        return self._records(self._top.get("users.json"), "user")

    def conversations(self) -> Iterator[Conversation]:
        """Every channel that a list of the export names; folders that no list names are counted."""
        named: set[str] = set()
        found = 0
        for name, kind in _LISTS.items():
            for record in self._records(self._top.get(name), "channel"):
                found += 1
                if found > CHANNELS_MAX:
                    self._tally.skip("channel beyond the limit of channels")
                    continue
                folder = self._folder(kind, record)
                named.add(folder)
                yield Conversation(kind, folder, record)
        for folder in self._days.keys() - named:
            self._tally.skip("file of a folder that no list of channels names", len(self._days[folder]))

    def messages(self, folder: str) -> Iterator[Record]:
        """Every record of a folder, day by day."""
        for info in sorted(self._days.get(folder, ()), key=lambda info: info.filename):
            yield from self._records(info, "message")

    def _folder(self, kind: ChannelKind, record: Record) -> str:
        name = record.get("id") if kind == "direct" else record.get("name")
        return name if isinstance(name, str) else ""

    def _sort_in(self, info: zipfile.ZipInfo) -> None:
        if info.is_dir():
            return
        parts = PurePosixPath(info.filename).parts
        if "\\" in info.filename or ".." in parts or info.filename.startswith("/") or len(parts) > 2:
            self._tally.skip("file with a name that is not <folder>/<day>.json")
        elif len(parts) == 2 and parts[1].endswith(".json"):
            self._days.setdefault(parts[0], []).append(info)
        elif len(parts) == 1 and parts[0] in _ELSEWHERE:
            self._top[parts[0]] = info
        else:
            self._tally.skip("file that is no part of an export's conversations")

    def _records(self, info: zipfile.ZipInfo | None, what: str) -> list[Record]:
        if info is None:
            return []
        try:
            parsed = json.loads(self._bytes(info))  # orjson refuses a whole file for one lone surrogate
        except (
            ValueError,
            OSError,
            RuntimeError,
            NotImplementedError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
        ):
            self._tally.skip(f"{what} file that cannot be read")
            return []
        if not isinstance(parsed, list):
            self._tally.skip(f"{what} file that holds no list")
            return []
        records: list[Record] = [record for record in parsed if isinstance(record, dict)]
        self._tally.skip(f"{what} record that is no object", len(parsed) - len(records))
        return records

    def _bytes(self, info: zipfile.ZipInfo) -> bytes:
        """The inflated file. The size in the zip's directory is a claim, so reading is bounded too."""
        with self._zip.open(info) as file:
            body = file.read(self._file_bytes_max + 1)
        if len(body) > self._file_bytes_max:
            raise ValueError("larger than the limit")
        return body
