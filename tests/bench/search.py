"""`search`: putting messages into the index, and finding them among a million; `PARLEY_BENCH_FULL=1`: ten.

The texts are lines of #ubuntu, in channels that are busy as channels are (Zipf); who asks may read half of
them. One partition holds all: in a system that has eight, each is asked at once and holds an eighth. A first
page of the newest counts its hits, too. Words: rare ones, common ones, what stands in every tenth line,
phrases, beginnings, operators. Texts for snippets are in the last figure only, which is a whole system's.

`decode to committed` is what an archiver does with what the log gives it: decode, number, fold, write and
sync a segment, publish it, record it in the cache, and take it into the search index, one by one.
"""

from __future__ import annotations

import itertools
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

from archiver.core.query import parse
from archiver.partition import PartitionArchive
from archiver.search.finder import Finder
from archiver.search.index import At, SearchIndex
from archiver.search.plan import Reader
from shared.archive_store import LocalStore
from shared.events import MessagePosted, Recorded
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Epoch,
    Partition,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
)
from shared.service import settle_memory
from shared.subjects import parse_channel_subject
from tests.bench.corpus import FILE, lines, load
from tests.bench.fold import stored
from tests.bench.load_client import open_session
from tests.bench.measure import median, percentile
from tests.bench.report import Figure
from tests.bench.system import running

NAME = "search"
MESSAGES, MESSAGES_FULL = 1_000_000, 10_000_000
COMMITTED = 50_000
"""Events of a segment."""

BATCH = 20_000
CHANNELS, READABLE = 10_000, 5_000
ROUNDS = 8
"""Questions of each sort, per repetition."""

ACKS = 10
"""Messages that are searched for as soon as they are acknowledged, per repetition."""

NEWEST_MS_MAX, RELEVANT_MS_MAX, SEARCHABLE_MS_MAX = 10.0, 150.0, 1000.0
BYTES_MAX, EVENTS_PER_S_MIN = 110.0, 60_000.0
QUERIES = (
    "the",
    "ubuntu",
    "kernel panic",
    "xorg.conf",
    '"sudo apt-get"',
    "grub*",
    "from:u0007 sound",
    "u1460",
    "install -ubuntu",
    "in:c00005 sound",
    "has:link",
    "nobodysaidthis",
)
EPOCH = Epoch("bench")
WORKSPACE = WorkspaceId("bench")


async def measure(repetitions: int) -> list[Figure]:
    """Putting in, finding, and how soon."""
    count = MESSAGES_FULL if os.environ.get("PARLEY_BENCH_FULL") == "1" else MESSAGES
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as scratch:
        figures = [_committed(Path(scratch) / "archive", repetitions)]
        figures += _found(Path(scratch), count, repetitions)
    return [*figures, await _searchable(repetitions)]


def messages(count: int, channels: int, chosen: random.Random) -> Iterator[Recorded]:
    """Messages as the log has them."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, channels + 1)))
    keys = [ChannelKey(WORKSPACE, ChannelId(f"c{number:05d}")) for number in range(channels)]
    seqs = Counter[ChannelKey]()
    said = lines(chosen)
    for number in range(1, count + 1):
        (key,) = chosen.choices(keys, cum_weights=weights)
        seqs[key] += 1
        author, text = next(said)
        event = MessagePosted(id=CommandId(""), author=UserId(author), text=text)
        yield Recorded(key, Seq(seqs[key]), StreamSeq(number), 1_790_000_000_000_000 + number * 40_000, event)


def _found(directory: Path, count: int, repetitions: int) -> list[Figure]:
    index = SearchIndex(directory / "p00.search.sqlite", EPOCH)
    indexed_per_s = _fill(index, count)
    chosen = random.Random(11)
    names = [ChannelId(f"c{number:05d}") for number in range(CHANNELS)]
    reader = Reader(WORKSPACE, UserId("me"), frozenset(chosen.sample(names, READABLE)))
    finder = Finder(index, 60.0)
    waits: dict[str, list[float]] = {"newest": [], "relevant": [], "CPU": []}
    for query in itertools.chain.from_iterable([QUERIES] * (repetitions * ROUNDS)):
        asked, upto = parse(query), StreamSeq(count)
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        finder.newest(asked, reader, upto, 20, None)
        waits["newest"].append((time.perf_counter() - began_s) * 1000)
        waits["CPU"].append((time.thread_time() - began_cpu_s) * 1000)
    for query in itertools.chain.from_iterable([QUERIES] * repetitions):
        began_s = time.perf_counter()
        finder.relevant(parse(query), reader, StreamSeq(count), 20)
        waits["relevant"].append((time.perf_counter() - began_s) * 1000)
    index.close()  # what stood in the write-ahead log is in the file from here on
    size = (directory / "p00.search.sqlite").stat().st_size / count
    texts = "ubuntu-irc" if FILE.exists() else "made-up"
    case = f"{count:,} messages, {READABLE:,} of {CHANNELS:,} channels, {texts} texts"
    newest, relevant = sorted(waits["newest"]), sorted(waits["relevant"])

    def figure(name: str, unit: str, value: float, **more: object) -> Figure:
        return Figure(NAME, case, name, unit, value, repetitions, **more)  # type: ignore[arg-type]

    return [
        figure("index", "bytes/event", size, target=BYTES_MAX),
        figure("put into the index", "events/CPU-s", indexed_per_s),
        figure("newest 20 (p50)", "ms", percentile(newest, 0.5)),
        figure("newest 20 (p95)", "ms", percentile(newest, 0.95), target=NEWEST_MS_MAX),
        figure("CPU of newest 20 (p95)", "ms", percentile(sorted(waits["CPU"]), 0.95)),
        figure("relevant 20 (p50)", "ms", percentile(relevant, 0.5)),
        figure("relevant 20 (p95)", "ms", percentile(relevant, 0.95), target=RELEVANT_MS_MAX),
    ]


def _fill(index: SearchIndex, count: int) -> float:
    """Messages per second of CPU; making them is not in it."""
    position, cpu_s = StreamSeq(0), 0.0
    said = messages(count, CHANNELS, random.Random(7))
    while batch := list(itertools.islice(said, BATCH)):
        end = At(batch[-1].stream_seq, batch[-1].at_us)
        began_s = time.process_time()
        assert index.record(position, batch, end)
        cpu_s += time.process_time() - began_s
        position = end.stream_seq
    return count / cpu_s


def _committed(directory: Path, repetitions: int) -> Figure:
    """From the log's bodies to a segment and the index."""
    corpus = load(COMMITTED, 200)
    batch = stored(corpus)
    rates = []
    for number in range(repetitions):
        home = directory / str(number)
        archive = PartitionArchive(LocalStore(home), home / "cache", Partition(0), EPOCH)
        archive.open()
        index = SearchIndex(home / "cache" / "p00.search.sqlite", EPOCH)
        keys = dict.fromkeys(parse_channel_subject(message.subject)[1] for message in batch)
        settle_memory()
        began_s = time.process_time()
        for key, head in archive.cache.heads(keys).items():
            archive.hot.load(key, head)
        archive.take(batch)
        for start in range(0, len(batch), BATCH):
            events = [it.recorded for it in archive.hot.behind(StreamSeq(start), BATCH)]
            assert index.record(StreamSeq(start), events, At(events[-1].stream_seq, events[-1].at_us))
        cut = archive.hot.cut()
        archive.committed(cut, archive.write(cut))
        rates.append(len(batch) / (time.process_time() - began_s))
        index.close()
        archive.close()
    case = f"{COMMITTED:,} events, 200 channels, {'ubuntu-irc' if corpus.real else 'made-up'} texts"
    return Figure(
        NAME,
        case,
        "decode to committed, search included",
        "events/CPU-s",
        median(rates),
        repetitions,
        target=EVENTS_PER_S_MIN,
        at_least=True,
    )


async def _searchable(repetitions: int) -> Figure:
    """From the ack to the answer that has the message, over HTTP."""
    async with running() as system:
        token = system.token("ada")
        session = await open_session(system.edges[0], token)
        await session.ask({"type": "create_channel", "kind": "public", "channel": "found", "name": "Found"})
        waits = []
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=system.edges[0], headers=headers, timeout=30) as http:
            for number in range(repetitions * ACKS):
                await session.ask({"type": "send", "channel": "found", "text": f"word{number} and more"})
                began_s = time.perf_counter()
                count = 0
                while not count:
                    page = await http.get("/v1/search", params={"q": f"word{number}"})
                    count = page.json().get("count", 0)
                waits.append((time.perf_counter() - began_s) * 1000)
        session.close()
    return Figure(
        NAME,
        "one message after the other, over HTTP",
        "ack to the answer that has it (p95)",
        "ms",
        percentile(sorted(waits), 0.95),
        repetitions,
        target=SEARCHABLE_MS_MAX,
    )
