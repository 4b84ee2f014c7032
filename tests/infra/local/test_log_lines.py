"""What the console shows of the children's logs."""

from __future__ import annotations

import pytest

from infra.local.log_lines import shorten

NATS = "[42] 2026/11/25 05:15:07.965610 [{level}] {text}"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"event":"bus.failed","level":"warning","service":"edge","pid":1,"error":"x"}',
            "bus.failed error=x",
        ),
        ('{"event":"service.failed","level":"error","at":"2026-11-25T05:15:42Z"}', "service.failed"),
        (NATS.format(level="ERR", text="disk is full"), "disk is full"),
        ("Traceback (most recent call last):", "Traceback"),
        ('["not", "an object"]', '["not", "an object"]'),
    ],
)
def test_trouble_is_shown(line: str, shown: str) -> None:
    """Warnings, errors, and whatever is not a log line at all."""
    short = shorten(line, verbose=False)
    assert short is not None
    assert shown in short


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"connection.opened","level":"info"}',
        NATS.format(level="INF", text="Server is ready"),
        NATS.format(level="WRN", text="Plaintext passwords detected, use nkeys or bcrypt"),
        "",
    ],
)
def test_the_rest_is_not(line: str) -> None:
    """Information and what is expected stay in the files, unless the person asks."""
    assert shorten(line, verbose=False) is None
    assert bool(shorten(line, verbose=True)) == bool(line)


def test_lines_are_bounded() -> None:
    """A huge line does not flood the terminal."""
    assert len(shorten("x" * 100_000, verbose=False) or "") <= 300
