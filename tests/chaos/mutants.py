"""`just chaos-mutants [NAME]`: real processes with a planted bug. A suite that lets one live proves nothing.

There is no switch for them in the product. A mutant is one exact replacement in a copy of the packages; the
system is started from that copy, goes through the scenario of its family, and the witnesses must find what it
breaks. The same scenario must find nothing in the copy before the bug is planted. If the text to replace
is not there exactly once, the mutant says so and nothing runs: adapt it to the code.

Bugs that only a power failure shows (a missing fsync) are planted in the simulation (`tests/simulation`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import scenarios
from tests.chaos.scenarios import Scenario

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")
SEED = 1


class NotPlantable(Exception):
    """The code that a mutant changes does not look as it did."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `file`, `sound` is replaced by `bug`; `finding` is what the scenario must then report."""

    name: str
    file: str
    sound: str
    bug: str
    scenario: Scenario
    finding: str

    def planted(self, source: str) -> str:
        """The source with the bug; raises `NotPlantable`."""
        times = source.count(self.sound)
        if times != 1:
            raise NotPlantable(
                f"{self.name}: {self.file} holds the text to replace {times} times: {self.sound!r}"
            )
        return source.replace(self.sound, self.bug)


MUTANTS = (
    Mutant(
        "ack-before-puback",
        "edge/publisher.py",
        "        self._groups.commit_soon(\n",
        "        fresh.answer(Recording(feed.head + 1, now_us(), duplicate=False))\n"
        "        fresh.then = lambda _: None\n"
        "        self._groups.commit_soon(\n",
        scenarios.server_dies_mute,
        r"lost: \w+ talk-\d #\d+: (acked, but|.* was acked here)",
    ),
    Mutant(
        "gap-rule-off-by-one",
        "edge/core/live.py",
        "    if last == mine:\n",
        "    if last in {mine, mine + 1}:\n",
        scenarios.one_republish_is_lost,
        r"talk #\d+: .* was acked here",
    ),
    Mutant(
        "healing-off",
        "edge/feed.py",
        "        if stream_seq <= max(self.stream_seq, self._wanted) or self.closed:\n",
        "        if True:\n",
        scenarios.the_last_word_is_lost,
        r"reader 0 stopped at \d+ of quiet-\d, acked is",
    ),
    Mutant(
        "manifest-before-rename",
        "shared/archive_store.py",
        "            os.link(temporary, path)\n"
        "        finally:\n"
        "            with contextlib.suppress(OSError):\n"
        "                temporary.unlink(missing_ok=True)\n",
        '            if what == "manifest":\n'
        "                temporary.rename(path)\n"
        "            else:\n"
        '                __import__("threading").Timer(0.1, temporary.rename, (path,)).start()\n'
        "        finally:\n"
        "            pass\n",
        scenarios.archiver_is_killed_in_its_commits,
        r"a manifest names .*parquet, which is not there",
    ),
    Mutant(
        "dedup-by-window-only",
        "edge/publisher.py",
        "        return FRESHNESS.is_late(event.id, now_us())\n",
        "        return False\n",
        scenarios.old_ids_come_again,
        r"doubled: .* (was acked|stands) at",
    ),
    Mutant(
        "resume-from-newest",
        "edge/core/subscriptions.py",
        "        self.cursor = after\n",
        "        self.cursor = max(self.cursor, after)\n",
        scenarios.reader_was_away,
        r"talk-\d #\d+: came after|reader 0 stopped at",
    ),
)


@contextlib.contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of the packages, compiled files included, so that it starts as fast."""
    with tempfile.TemporaryDirectory(prefix="parley-mutant-", ignore_cleanup_errors=True) as scratch:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, Path(scratch) / package)
        yield Path(scratch)


def plant(mutant: Mutant, tree: Path) -> None:
    """Change the copy; raises `NotPlantable`."""
    path = tree / mutant.file
    path.write_text(mutant.planted(path.read_text()))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scenario found in the sound tree and in the mutant; `seconds`: both together."""

    mutant: Mutant
    sound: Sequence[str]
    broken: Sequence[str]
    seconds: float

    @property
    def caught_by(self) -> str | None:
        """The first finding of the kind that was expected."""
        return next((what for what in self.broken if re.search(self.mutant.finding, what)), None)

    @property
    def holds(self) -> bool:
        """Whether the scenario tells the two apart, for the right reason."""
        return not self.sound and self.caught_by is not None


async def judge(mutant: Mutant, seed: int = SEED) -> Verdict:
    """Run the scenario without the bug and with it."""
    began_s = time.monotonic()
    with copied_tree() as tree:
        mutant.planted((tree / mutant.file).read_text())
        sound = await mutant.scenario(tree, seed)
        plant(mutant, tree)
        broken = await mutant.scenario(tree, seed)
    return Verdict(mutant, sound, broken, time.monotonic() - began_s)


def main() -> int:
    """Exit code 1 if a mutant lives, or if a scenario fails without one."""
    names = [mutant.name for mutant in MUTANTS]
    parser = argparse.ArgumentParser(prog="just chaos-mutants", description="Plant bugs and see them caught.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (all)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the scenarios ({SEED})")
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    print(f"{'mutant':<24}{'scenario':<36}{'seed':>5}{'seconds':>9}  caught by")
    failures = 0
    for mutant in MUTANTS:
        if options.names and mutant.name not in options.names:
            continue
        verdict = asyncio.run(judge(mutant, options.seed))
        failures += not verdict.holds
        show(verdict, options.seed)
    return 1 if failures else 0


def show(verdict: Verdict, seed: int) -> None:
    """A line of the table, and what is wrong with it."""
    mutant = verdict.mutant
    line = f"{mutant.name:<24}{mutant.scenario.__name__:<36}{seed:>5}{verdict.seconds:>9.1f}"
    print(f"{line}  {verdict.caught_by or 'NOT CAUGHT'}", flush=True)
    for what in verdict.sound[:5]:
        print(f"    without the bug: {what}")
    if verdict.caught_by is None:
        for what in verdict.broken[:5]:
            print(f"    with it: {what}")


if __name__ == "__main__":
    sys.exit(main())
