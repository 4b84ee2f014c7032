"""The zip of an export. Anybody may have made it: every size is bounded, no name is trusted.

Nothing is written to the disk, and a name only ever serves to tell folders apart. What cannot be read is
counted and left out; the rest goes on.
"""

from __future__ import annotations

import contextlib
import json
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from infra.slack.tally import Tally
from shared.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Limits:
    """What of an export is read. `bytes` are inflated ones, whatever the zip's directory claims."""

    files: int = 500_000
    file_bytes: int = 64 * 1024 * 1024
    file_objects: int = 2_000_000
    """Objects and lists of one JSON file: empty ones take twenty times their text in memory."""
    folder_bytes: int = 1024**3
    """A channel is in memory while it is imported."""
    total_bytes: int = 64 * 1024**3
    ratio: int = 200
    """All files together, against the size of the zip. Real exports have 5 to 20."""


LIMITS = Limits()
LISTS = frozenset({"channels.json", "groups.json", "mpims.json", "dms.json"})
_ELSEWHERE = frozenset(
    {*LISTS, "users.json", "integration_logs.json", "canvases.json", "file_conversations.json", "lists.json"}
)
_UNREADABLE = (
    ValueError,
    OSError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
)
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_UTF8_FLAG = 0x800
_DIGITS_MAX = 18


class Package:
    """An open zip. Use it as a context manager; raises `BadRequest` if it is none."""

    def __init__(self, path: Path, tally: Tally, limits: Limits = LIMITS) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            size = path.stat().st_size
        except UnicodeDecodeError as error:
            raise BadRequest(f"{path} holds a file name that is not the UTF-8 it claims to be") from error
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise BadRequest(f"{path} cannot be read as a zip: {error}") from error
        self._tally = tally
        self._limits = limits
        self._left = min(limits.total_bytes, limits.ratio * size + limits.file_bytes)
        self._days: dict[str, list[zipfile.ZipInfo]] = {}
        self._top: dict[str, zipfile.ZipInfo] = {}
        infos = self._zip.infolist()
        tally.omit("file beyond the limit of files", len(infos) - limits.files)
        named = [(_parts(info), info) for info in infos[: limits.files]]
        root = _root([parts for parts, _ in named if parts])
        for parts, info in named:
            self._sort_in(parts, root, info)

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._zip.close()
        return False

    @property
    def folders(self) -> list[str]:
        """Every folder, sorted; that of a channel in which nothing was said is empty."""
        return sorted(self._days)

    def is_empty(self, folder: str) -> bool:
        """Whether a folder holds no days."""
        return not self._days.get(folder)

    def listed(self, name: str) -> list[object]:
        """The entries of a list such as `channels.json`; none if there is no such file."""
        info = self._top.get(name)
        return [] if info is None else self._entries(info, f"{name} that")

    def entries(self, folder: str) -> Iterator[object]:
        """Every entry of a folder's lists, day by day."""
        enough = self._left - self._limits.folder_bytes
        for info in sorted(self._days.get(folder, ()), key=lambda info: info.filename):
            if self._left <= max(enough, 0):
                self._tally.omit("file beyond the limit of inflated bytes")
            else:
                yield from self._entries(info, "message file that")

    def glance(self, folder: str) -> list[object]:
        """The same, uncounted: the folder will be read again."""
        tally, left = self._tally, self._left
        self._tally = Tally()
        try:
            return list(self.entries(folder))
        finally:
            self._tally, self._left = tally, left

    def _sort_in(self, parts: tuple[str, ...] | None, root: str | None, info: zipfile.ZipInfo) -> None:
        if parts and root is not None and parts[0] == root:
            parts = parts[1:]
        if info.is_dir():
            if parts and len(parts) == 1:
                self._days.setdefault(parts[0], [])
        elif parts is None or len(parts) > 2:
            self._tally.omit("file with a name that is not <folder>/<day>.json")
        elif len(parts) == 2 and parts[1].endswith(".json"):
            self._days.setdefault(parts[0], []).append(info)
        elif len(parts) == 1 and parts[0] in _ELSEWHERE:
            self._tally.omit("list that the zip holds twice: the last one counts", int(parts[0] in self._top))
            self._top[parts[0]] = info
        else:
            self._tally.omit("file that is no part of an export's conversations")

    def _entries(self, info: zipfile.ZipInfo, what: str) -> list[object]:
        try:
            parsed = self._parsed(self._bytes(info))
        except _UNREADABLE:
            self._tally.omit(f"{what} cannot be read")
            return []
        if not isinstance(parsed, list):
            self._tally.omit(f"{what} holds no list")
            return []
        return parsed

    def _bytes(self, info: zipfile.ZipInfo) -> bytes:
        """The inflated file. The size in the zip's directory is a claim, so reading is bounded too."""
        if info.compress_type not in _METHODS:
            raise ValueError("packed in a way that exports are not")
        bound = min(self._limits.file_bytes, self._left)
        body = b""
        try:
            with self._zip.open(info) as file:
                body = file.read(bound + 1)
        finally:
            self._left -= len(body) or info.compress_size
        if len(body) > bound:
            raise ValueError("larger than the limit")
        return body

    def _parsed(self, body: bytes) -> object:
        if body.count(b"{") + body.count(b"[") > self._limits.file_objects:
            raise ValueError("more objects than the limit")
        text = None
        with contextlib.suppress(UnicodeDecodeError):
            text = body.decode(json.detect_encoding(body), "surrogatepass")
        if text is None:
            text = body.decode("utf-8", "replace")
            self._tally.alter("file that is not UTF-8: its bad bytes replaced")
        # orjson refuses a whole file for one lone surrogate, and for one long number.
        return json.loads(text, parse_int=_integer, parse_float=str)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _DIGITS_MAX else None


def _parts(info: zipfile.ZipInfo) -> tuple[str, ...] | None:
    """The name's parts; None if it leads anywhere but below."""
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG:  # zipfile has taken it for code page 437; most tools write UTF-8
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    if "\\" in name or "\x00" in name or name.startswith("/"):
        return None
    parts = PurePosixPath(unicodedata.normalize("NFC", name)).parts
    return None if ".." in parts or not parts else parts


def _root(names: list[tuple[str, ...]]) -> str | None:
    """The one folder that holds the lists, where somebody packed the folder and not what is in it."""
    if any(len(parts) == 1 and parts[0] in LISTS for parts in names):
        return None
    roots = {parts[0] for parts in names if len(parts) == 2 and parts[1] in {*LISTS, "users.json"}}
    return roots.pop() if len(roots) == 1 else None
