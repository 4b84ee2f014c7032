"""`fold`: what one event costs where nothing but our own code runs: the sequencer's ledger, decode and fold.

Everything that numbers (sequencer, archiver, every edge) pays this once per event. The input is the text of
real chat. Reference: `orjson.loads` of the same bodies, which validates nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson

from sequencer.core.ledger import Ledger
from shared import events as e
from shared.channel import ChannelState, fold
from shared.envelope import StoredMessage
from shared.ids import ChannelKey, Partition, Seq, StreamSeq
from shared.subjects import channel_subject
from shared.wire_form import wire
from tests.bench.corpus import Corpus, load
from tests.bench.measure import median
from tests.bench.report import Figure

NAME = "fold"
EVENTS = 20_000
CHANNELS = 200


async def measure(repetitions: int) -> list[Figure]:
    """Microseconds per event."""
    corpus = load(EVENTS, CHANNELS)
    batch = stored(corpus)
    bodies = [message.body for message in batch]
    runs: dict[str, Callable[[], object]] = {
        "reference": lambda: [orjson.loads(body) for body in bodies],
        "sequencer's ledger": lambda: _ledger(batch),
        "decode": lambda: [e.decode(body) for body in bodies],
        "decode and fold": lambda: _fold(batch),
        "decode, fold and wire": lambda: _wire(batch),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, work in runs.items():
            taken[name].append(_us_per_event(work, len(batch)))
    reference = taken.pop("reference")
    return [
        Figure(
            bench=NAME,
            case="in process",
            figure=name,
            unit="us/event",
            value=median(values),
            repetitions=repetitions,
            reference=median(reference),
            reference_name="orjson.loads",
            ratio=median(value / base for value, base in zip(values, reference, strict=True)),
        )
        for name, values in taken.items()
    ]


def stored(corpus: Corpus) -> list[StoredMessage]:
    """The corpus as the stream of partition 0 would hold it."""
    partition = Partition(0)
    return [
        StoredMessage(channel_subject(partition, key), body, {}, StreamSeq(number), at_us)
        for number, (key, body, at_us) in enumerate(corpus.events, start=1)
    ]


def _us_per_event(work: Callable[[], object], events: int) -> float:
    began_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - began_ns) / 1000 / events


def _ledger(batch: Sequence[StoredMessage]) -> None:
    ledger = Ledger(Partition(0), 1)
    for start in range(0, len(batch), 500):
        ledger.fold(batch[start : start + 500])
    assert ledger.strays == 0
    ledger.take_unsaved()


def _fold(batch: Sequence[StoredMessage]) -> None:
    states: dict[str, ChannelState | None] = {}
    for message in batch:
        states[message.subject], _ = fold(states.get(message.subject), e.decode(message.body))


def _wire(batch: Sequence[StoredMessage]) -> None:
    states: dict[str, ChannelState | None] = {}
    for message in batch:
        event = e.decode(message.body)
        states[message.subject], void = fold(states.get(message.subject), event)
        key = ChannelKey(*message.subject.split(".")[2:])  # type: ignore[arg-type]
        wire(e.Recorded(key, Seq(1), message.stream_seq, message.at_us, event, void))
