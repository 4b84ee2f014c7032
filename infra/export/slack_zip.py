"""A zip that Slack might have written, and that `parley import slack` reads again.

The same events give the same bytes: entries in one order, with one date. Days are streamed into it; a day
that grows beyond what an import reads of one file goes on in another.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import orjson

from infra.export.slack_channels import Channel, read_channels
from infra.export.slack_records import Shown, read_shown, record_of, ts_of
from infra.export.source import Source
from shared.clock import rfc3339

FILE_BYTES_MAX = 32 * 1024 * 1024
_LISTS = ("channels.json", "groups.json", "dms.json", "mpims.json")
_CHUNK = 512
_DATE = (1980, 1, 1, 0, 0, 0)
_LEVEL = 6


def write_zip(
    source: Source, path: Path, progress: Callable[[int], None], file_bytes_max: int = FILE_BYTES_MAX
) -> int:
    """Write the selected channels to `path`; returns how many records."""
    channels = read_channels(source)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as out:
        return _Writer(out, channels, file_bytes_max).write(read_shown(source), progress)


class _Writer:
    def __init__(self, out: zipfile.ZipFile, channels: dict[str, Channel], file_bytes_max: int) -> None:
        self._out = out
        self._channels = channels
        self._file_bytes_max = file_bytes_max
        self._lists: dict[str, list[dict[str, object]]] = {name: [] for name in _LISTS}
        self._users: set[str] = set()
        self._pinned: dict[int, str] = {}
        self.records = 0

    def write(self, shown: Iterator[Shown], progress: Callable[[int], None]) -> int:
        waiting = dict(self._channels)
        for id_, of_channel in groupby(shown, key=attrgetter("channel")):
            channel = waiting.pop(id_)
            self._pinned = {}
            for day, of_day in groupby(self._records(channel, of_channel), key=lambda pair: pair[0]):
                self._day(f"{channel.folder}/{day}", (record for _, record in of_day))
                progress(self.records)
            self._list(channel)
        for channel in waiting.values():  # nothing was ever said there: an empty folder, as Slack writes it
            self._pinned = {}
            self._out.writestr(_info(f"{channel.folder}/"), b"")
            self._list(channel)
        for name in _LISTS:
            self._whole(name, sorted(self._lists[name], key=lambda entry: str(entry["id"])))
        self._whole("users.json", [_user(user) for user in sorted(self._users)])
        return self.records

    def _records(self, channel: Channel, shown: Iterable[Shown]) -> Iterator[tuple[str, bytes]]:
        name = channel.first_name
        for each in shown:
            record = record_of(each, name)
            name = str(record["name"]) if each.kind == "channel.renamed" else name
            if each.seq in channel.pins:
                self._pinned[each.seq] = ts_of(each.us)
            self._meet(record)
            self.records += 1
            yield rfc3339(each.us)[:10], orjson.dumps(record)

    def _meet(self, record: dict[str, object]) -> None:
        self._users.add(str(record["user"]))
        reactions = record.get("reactions")
        for reaction in reactions if isinstance(reactions, list) else ():
            self._users.update(reaction["users"])

    def _day(self, name: str, records: Iterator[bytes]) -> None:
        """One file, or as many as its size takes; written piece by piece."""
        part, more = 1, next(records, None)
        while more is not None:
            entry = f"{name}.json" if part == 1 else f"{name}-{part:04d}.json"
            with self._out.open(_info(entry), "w") as file:
                size = file.write(b"[\n" + more)
                pieces: list[bytes] = []
                for more in records:
                    if size + len(more) > self._file_bytes_max:
                        break
                    pieces += (b",\n", more)
                    size += len(more) + 2
                    if len(pieces) >= _CHUNK:
                        file.write(b"".join(pieces))
                        pieces = []
                else:
                    more = None
                file.write(b"".join((*pieces, b"\n]\n")))
            part += 1

    def _list(self, channel: Channel) -> None:
        self._lists[channel.list_name].append(channel.entry(self._pinned))
        self._users.update(channel.state.members)
        self._users.add(channel.state.created_by)

    def _whole(self, name: str, entries: list[dict[str, object]]) -> None:
        with self._out.open(_info(name), "w") as file:
            file.write(orjson.dumps(entries, option=orjson.OPT_INDENT_2) + b"\n")


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info._compresslevel = _LEVEL  # type: ignore[attr-defined]  # public from 3.13 on
    return info


def _user(user: str) -> dict[str, object]:
    return {"id": user, "name": user, "real_name": user, "profile": {"real_name": user, "display_name": user}}
