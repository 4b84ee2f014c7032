"""Real chat as events: lines of the #ubuntu channel, spread over channels as traffic is (Zipf).

The file is not part of the repository; where it is missing, texts of the same lengths are made up, and the
figures say so by their case.
"""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from shared import events as e
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId, new_command_id
from tests.bench.report import ROOT

FILE = ROOT.parent / "shared" / "data" / "ubuntu-irc.ndjson.gz"
_BEGAN_US = 1_790_000_000_000_000
_WORDS = (
    "apt",
    "kernel",
    "sudo",
    "try",
    "it",
    "the",
    "install",
    "no",
    "sound",
    "x",
    "restart",
    "how",
    "grub",
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Events in log order: channel, stored body, time of the log; `real` is whether the texts are."""

    events: list[tuple[ChannelKey, bytes, int]]
    real: bool


def load(count: int, channels: int) -> Corpus:
    """`count` events in `channels` channels, each of which begins with its creation."""
    chosen = random.Random(7)
    names = [ChannelKey(WorkspaceId("bench"), ChannelId(f"c{number:03d}")) for number in range(channels)]
    weights = [1 / rank for rank in range(1, channels + 1)]
    targets = chosen.choices(names, weights, k=count)
    found: list[tuple[ChannelKey, bytes, int]] = []
    opened: set[ChannelKey] = set()
    members = frozenset(f"u{number:04d}" for number in range(1, 51))
    for number, (key, (author, text)) in enumerate(
        zip(targets, itertools.islice(lines(chosen), count), strict=True)
    ):
        at_us = _BEGAN_US + number * 40_000
        event: e.KnownEvent
        if key not in opened:
            opened.add(key)
            event = e.ChannelCreated(
                id=new_command_id(at_us // 1000),
                author=UserId("owner"),
                channel_kind="public",
                name=key.channel,
                members=tuple(UserId(user) for user in sorted(members)),
            )
        else:
            event = e.MessagePosted(id=new_command_id(at_us // 1000), author=UserId(author), text=text)
        found.append((key, e.encode(event), at_us))
    return Corpus(found, FILE.exists())


def lines(chosen: random.Random) -> Iterator[tuple[str, str]]:
    """Author and text, for ever."""
    while True:
        yield from _from_file() if FILE.exists() else _made_up(chosen)


def _from_file() -> Iterator[tuple[str, str]]:
    with gzip.open(FILE, "rb") as file:
        for line in file:
            said = orjson.loads(line)
            yield f"u{int(said['user'][1:]) % 50 + 1:04d}", said["text"]


def _made_up(chosen: random.Random) -> Iterator[tuple[str, str]]:
    yield f"u{chosen.randint(1, 50):04d}", " ".join(chosen.choices(_WORDS, k=chosen.randint(2, 24)))
