"""The report says what was done, what is wrong and where to read on."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from tests.chaos.checker import Wrong
from tests.chaos.report import as_json, show
from tests.chaos.run import Outcome
from tests.chaos.silence import Felt, Injury


def outcome() -> Outcome:
    killed = Felt(Injury("kill", "nats leader", 1.0, 1.0), 5.0, 4.5)
    graceful = Felt(Injury("terminate", "edge", 9.0, 9.0), 1.0, 0.5)
    return Outcome(seed=7, felt=[killed, graceful], acked=10, events=100)


def shown(one: Outcome) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(console, one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_clean_run_says_so_and_ends_with_json() -> None:
    """The last line is for machines: counts, what is wrong by family, times to recover by kind."""
    text = shown(outcome())
    assert "nothing is lost" in text
    found = json.loads(text.splitlines()[-1])
    assert found == json.loads(json.dumps(as_json(outcome())))
    assert found["lost"] == found["leaked"] == 0
    assert found["recovered_s"] == {"kill": [4.5, 4.5], "terminate": [0.5, 0.5]}
    assert found["silence_s"]["killed leader"] == [5.0, 5.0]
    assert found["silence_s"]["graceful"] == [1.0, 1.0]


def test_a_run_that_is_wrong_names_seed_folder_and_history() -> None:
    """Whoever reads it can run it again and look at the few records that show it."""
    one = outcome()
    one.wrong = [Wrong("lost", "grace", "came after 1", "busy-0", 3)]
    one.folder = Path("/somewhere")
    one.history = ["the smallest history"]
    one.skipped = {"full disk": "this process may not mount"}
    text = shown(one)
    assert "lost: grace busy-0 #3: came after 1" in text
    for part in ("seed 7", "/somewhere", "the smallest history", "not done: full disk"):
        assert part in text
    assert json.loads(text.splitlines()[-1])["lost"] == 1
