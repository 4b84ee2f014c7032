"""Real chat, searched and compared with reading all of it: #ubuntu with CJK, identifiers, emoji strewn in."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from archiver.core.folding import fold
from archiver.search.index import SearchIndex
from tests.support.search import Log, ask, found, indexed

FILE = Path(__file__).parents[4] / "shared" / "data" / "ubuntu-irc.ndjson.gz"
LINES = 12_000
CHANNELS = [f"c{number}" for number in range(12)]
READABLE = CHANNELS[:7]
STREWN = [
    "我今天去北京大学上课",
    "今日は東京タワーへ行きました",
    "내일 서울에서 만나요",
    "see PLT-3699 and #foo-123 in C++ (v1.2.3)",
    "ada@example.com wrote to https://x.org/a/report.pdf 👩🏽\u200d💻 👍",
    "Größe der Straße in İstanbul",
]

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not part of the repository")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SearchIndex, dict[str, str]]]:
    """An index of real lines, and every text by its place."""
    rng = random.Random(4)
    log = Log()
    texts: dict[str, str] = {}
    with gzip.open(FILE, "rb") as file:
        for number, line in enumerate(file):
            if number == LINES:
                break
            message = orjson.loads(line)
            channel = rng.choice(CHANNELS)
            text = message["text"] if number % 50 else f"{message['text']} {rng.choice(STREWN)}"
            texts[f"{channel}/{log.say(channel, text, message['user'])}"] = text
    for place in rng.sample(sorted(texts), 400):
        channel, _, seq = place.partition("/")
        if rng.random() < 0.5:
            log.delete(channel, int(seq))
            del texts[place]
        else:
            texts[place] = f"edited: {texts[rng.choice(sorted(texts)[:500])]}"
            log.edit(channel, int(seq), texts[place])
    index = indexed(tmp_path_factory.mktemp("real"), log, 997)
    yield index, texts
    index.close()


def matching(texts: dict[str, str], pattern: str, *, but: str = "(?!)") -> set[str]:
    """The places that a reader of everything finds, in channels that may be read."""
    wanted, unwanted = re.compile(pattern), re.compile(but)
    return {
        place
        for place, text in texts.items()
        if place.partition("/")[0] in READABLE
        if wanted.search(folded := fold(text).lower()) and not unwanted.search(folded)
    }


def word(text: str) -> str:
    """A whole word."""
    return rf"(?<![^\W_]){text}(?![^\W_])"


@pytest.mark.parametrize(
    ("query", "pattern", "but"),
    [
        *(
            (it, word(it), "(?!)")
            for it in ("ubuntu", "the", "xorg", "sudo", "a", "2", "grub", "kde", "sound")
        ),
        ("kernel -ubuntu", word("kernel"), word("ubuntu")),
        ('"apt-get install"', rf"{word('apt')}\W+{word('get')}\W+{word('install')}", "(?!)"),
        ("xorg.conf", rf"{word('xorg')}[\W_]+{word('conf')}", "(?!)"),
        ("inst*", r"(?<![^\W_])inst", "(?!)"),
        ("PLT-3699", "plt-3699", "(?!)"),
        ("#foo-123", "#foo-123", "(?!)"),
        ("C++", r"(?<![^\W_])c\+\+", "(?!)"),
        ("v1.2.3", r"v1\.2\.3", "(?!)"),
        ("ada@example.com", "ada@example.com", "(?!)"),
        ("x.org/a/report.pdf", "x.org/a/report.pdf", "(?!)"),
        ("北京", "北京", "(?!)"),
        ("東京タワー", "東京タワー", "(?!)"),
        ("서울", "서울", "(?!)"),
        ("京", "京", "(?!)"),
        ("👍", "👍", "(?!)"),
        ("STRASSE", "strasse", "(?!)"),
    ],
)
def test_it_finds_what_reading_everything_finds(
    said: tuple[SearchIndex, dict[str, str]], query: str, pattern: str, but: str
) -> None:
    """All of it, nothing else, in the order of the log, from the channels that may be read."""
    index, texts = said
    expected = matching(texts, pattern, but=but)
    assert expected, "the texts have nothing like this"
    assert set(found(index, query, readable=READABLE, limit=100_000)) == expected
    counted = ask(index, query, readable=READABLE, limit=1)
    assert (counted.count, counted.capped) == (min(1000, len(expected)), len(expected) > 1000)
