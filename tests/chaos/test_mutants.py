"""Planting, and one planted bug that real processes show quickly (`just chaos-mutants` runs all)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.settings import CommonSettings
from tests.chaos.mutants import (
    MUTANTS,
    PACKAGES,
    ROOT,
    Mutant,
    NotPlantable,
    Verdict,
    copied_tree,
    judge,
    plant,
)
from tests.chaos.thief import Thief
from tests.support.waiting import eventually


async def _finds_nothing(_: Path, __: int) -> list[str]:
    return []


_MUTANT = Mutant("m", "edge/app.py", "sound", "bug", _finds_nothing, "lost")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_planted(mutant: Mutant) -> None:
    """The code that it changes is there exactly once, and what comes of it is a program."""
    source = (ROOT / mutant.file).read_text()
    planted = mutant.planted(source)
    assert planted != source
    # A name that the code no longer imports would be another bug than the one that was meant.
    names = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F821",
        "--target-version",
        "py311",
    ]
    found = subprocess.run([*names, "-"], input=planted, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("source", ["", "sound sound"])
def test_code_that_has_changed_is_named(source: str) -> None:
    """A text that is absent or ambiguous is not replaced: the mutant would be another one, or none."""
    with pytest.raises(NotPlantable, match=r"edge/app\.py"):
        _MUTANT.planted(source)


def test_a_bug_is_planted_in_a_copy_only() -> None:
    """The copy holds all packages and the bug; this tree does not change, and the copy goes."""
    mutant = MUTANTS[0]
    before = (ROOT / mutant.file).read_text()
    with copied_tree() as tree:
        plant(mutant, tree)
        assert {path.name for path in tree.iterdir()} == set(PACKAGES)
        assert mutant.bug in (tree / mutant.file).read_text()
    assert (ROOT / mutant.file).read_text() == before
    assert not tree.exists()


@pytest.mark.parametrize(
    ("sound", "broken", "holds"),
    [
        ([], ["x is lost"], True),
        ([], [], False),
        ([], ["slow"], False),
        (["x is lost"], ["x is lost"], False),
    ],
)
def test_a_mutant_is_caught_for_its_own_reason(sound: list[str], broken: list[str], holds: bool) -> None:
    """Nothing without the bug, and with it what was expected: anything else proves nothing."""
    assert Verdict(_MUTANT, sound, broken, 0.0).holds is holds


async def test_a_thief_takes_what_it_wants(settings: CommonSettings) -> None:
    """A stolen message never arrives; the others, with headers and without, arrive whole and in order."""
    async with Thief(settings.nats_url) as thief:
        thief.wants = lambda subject: subject == "secret"
        heard: list[bytes] = []
        async with Bus.connect(settings.model_copy(update={"nats_url": thief.url}), "victim") as bus:
            for subject in ("secret", "open"):
                await bus.subscribe(subject, lambda message: heard.append(message.body))
            for number in range(3):
                await bus.publish("secret", b"secret")
                await bus.publish("open", b"plain\r\n%d" % number)
                await bus.publish("open", b"headers %d" % number, headers={"X": "y"})
            await eventually(lambda: len(heard) == 6)
        assert thief.stolen == ["secret"] * 3
        assert heard == [
            body for number in range(3) for body in (b"plain\r\n%d" % number, b"headers %d" % number)
        ]


@pytest.mark.system
@pytest.mark.faults
@pytest.mark.timeout(300)
def test_an_ack_before_the_puback_is_caught() -> None:
    """Real processes with this bug lose what they acked; without it the same story ends well."""
    verdict = asyncio.run(judge(next(mutant for mutant in MUTANTS if mutant.name == "ack-before-puback")))
    assert verdict.sound == []
    assert verdict.caught_by, verdict.broken
