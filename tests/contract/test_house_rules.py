"""House rules on the whole tree: sizes, names, pure cores, bounds, log events, labels, tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import rules

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
CORES = [path for path in SOURCES if path.parent.name == "core"]

TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if "contract" not in path.parts]

WAITING = {
    "tests/support/waiting.py": "the one loop that waits for a condition",
    "tests/support/nats.py": "waits for a server's greeting",
    "tests/support/seaweed.py": "waits for a server's first answer",
    "tests/support/local_system.py": "waits for a process",
    "tests/support/reaper.py": "looks again for what may still be made",
    "tests/infra/cli/test_up.py": "asks a process over and over",
    "tests/bench/activate.py": "watches idle processes, and a bucket fill",
    "tests/bench/commits.py": "lets load run for a while",
    "tests/bench/connects_held.py": "watches processes that hold connections",
    "tests/bench/crowd.py": "paces load",
    "tests/bench/durability.py": "lets load run for a while",
    "tests/bench/fan_out.py": "paces load",
    "tests/bench/idle.py": "watches an idle process",
    "tests/bench/ingest.py": "watches until services rest",
    "tests/bench/pace.py": "paces load",
    "tests/bench/peers/centrifugo.py": "waits for a server to answer",
    "tests/bench/system.py": "watches processes",
    "tests/bench/visits.py": "watches a process until it rests",
    "tests/chaos/faults.py": "faults last for a while",
    "tests/chaos/load.py": "people pause between what they say",
    "tests/chaos/proxy.py": "holds bytes back",
    "tests/chaos/raw_reader.py": "waits before it connects again",
    "tests/chaos/raw_writer.py": "pauses between what it says",
    "tests/chaos/run.py": "hurts at the times of the schedule",
    "tests/chaos/test_disks.py": "counts what is written in a while",
}
"""Files that may sleep, and why."""

TRIED_ONCE = {
    "tests/infra/nats/test_durability.py": "a second try would be seen in the trace",
    "tests/simulation/mutants.py": "is meant to be wrong",
}
"""Files that may commit what cannot be repeated, and why."""


def name_of(path: Path) -> str:
    """A path as it is written in complaints."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sources_keep_the_rules(path: Path) -> None:
    """Sizes, names, no leftovers, no queue without a bound."""
    source = path.read_text()
    assert not rules.too_long(source)
    assert not rules.badly_named(path.stem, source)
    assert not rules.leftovers(source)
    assert not rules.unbounded(source)
    assert not rules.misnamed_logs(source)
    assert not rules.open_labels(source)


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_keep_the_rules(path: Path) -> None:
    """Each test says what must hold, waits for signals instead of guesses, and mocks nothing of ours."""
    source = path.read_text()
    assert not rules.unexplained(source)
    assert not rules.leftovers(source)
    assert not rules.hurried(source)
    if name_of(path) not in WAITING:
        assert not rules.impatient(source)
    if name_of(path) not in TRIED_ONCE:
        assert not rules.tried_once(source)


@pytest.mark.parametrize("path", CORES, ids=name_of)
def test_cores_are_pure(path: Path) -> None:
    """A core imports no clock, chance, loop, log, file or socket."""
    assert not rules.impure(path.read_text())


def test_exceptions_are_needed() -> None:
    """An exception that nobody uses any more goes."""
    for name in WAITING:
        assert rules.impatient((ROOT / name).read_text()), f"{name} does not sleep any more"
    for name in TRIED_ONCE:
        assert rules.tried_once((ROOT / name).read_text()), f"{name} commits under ids now"


BAD = {
    "unbounded": ["asyncio.Queue()", "asyncio.Queue[int](0)", "deque()", "collections.deque[str](x)",
                  "deque(x, maxlen=None)"],
    "misnamed_logs": ["_log.info('Something happened')", "_log.error(f'{x}.failed')",
                      "self._log.warning('x')"],
    "open_labels": ["Gauge('feeds', 'Feeds')", "Counter('parley_a_total', '')",
                    "Gauge('parley_a', 'A', ['channel'])", "Gauge('parley_a', 'A', labelnames=['user'])"],
    "unexplained": ["def test_it(): assert True", "async def test_it(): ..."],
    "hurried": ["eventually(x, within_s=5)", "async def f():\n    async with asyncio.timeout(20), x: ...",
                "try:\n    asyncio.timeout(1)\nexcept ValueError: ..."],
    "impatient": ["time.sleep(1)", "await asyncio.sleep(x)", "from unittest.mock import MagicMock"],
    "tried_once": ["await bus.commit(subject, b'x')", "self._bus.commit(subject, b'x', deadline_s=2)"],
    "leftovers": ["x = 1  # TODO later", "# FIXME"],
    "impure": ["from asyncio import sleep", "import time as t", "import os.path"],
}  # fmt: skip
GOOD = {
    "unbounded": ["asyncio.Queue(8)", "deque(x, maxlen=n)", "deque(x, n)", "asyncio.Queue[int](maxsize=n)"],
    "misnamed_logs": ["_log.info('session.opened', user=x)", "math.log(2)"],
    "open_labels": ["Gauge('parley_a', 'A', ['reason'])", "Counter('abc')"],
    "unexplained": ['def test_it():\n    """It holds."""', "def helper(): ..."],
    "hurried": [
        "eventually(x)",
        "eventually(x, within_s=60)",
        "asyncio.timeout(LIMIT_S)",
        "with suppress(TimeoutError):\n    asyncio.timeout(0.1)",
        "try:\n    asyncio.timeout(1)\nexcept TimeoutError: ...",
    ],
    "impatient": ["await asyncio.sleep(0)", "await eventually(x)"],
    "tried_once": ["bus.commit(subject, body, msg_id='1')", "log.commit(subject, body, expect_last=n)"],
}


@pytest.mark.parametrize(("rule", "source"), [(rule, text) for rule, texts in BAD.items() for text in texts])
def test_a_rule_finds_what_it_is_for(rule: str, source: str) -> None:
    """Each rule can fail, also on the less usual spelling."""
    assert getattr(rules, rule)(source)


@pytest.mark.parametrize(("rule", "source"), [(rule, text) for rule, texts in GOOD.items() for text in texts])
def test_a_rule_lets_good_code_pass(rule: str, source: str) -> None:
    """A rule that complains about everything would be switched off."""
    assert not getattr(rules, rule)(source)


def test_sizes_and_names_can_fail() -> None:
    """A long file, a long function and a name that says nothing are found."""
    assert rules.too_long("x = 1\n" * 301)
    assert rules.too_long("def f():\n" + "    x = 1\n" * 60)
    assert rules.badly_named("utils", "")
    assert rules.badly_named("feed", "class FeedManager: ...")
