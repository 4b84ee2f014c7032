"""Slack's times and users, as they stand in exports, and the ids that come of them."""

from __future__ import annotations

import pytest

from infra.slack.export import Conversation
from infra.slack.source import Source, author_of, is_ts, time_us, ts_at, user_of
from infra.slack.tally import Tally
from shared.ids import command_id, command_time_ms


@pytest.mark.parametrize(
    ("ts", "us"),
    [
        ("1452837352.000006", 1_452_837_352_000_006),
        ("1452837352", 1_452_837_352_000_000),
        ("1452837352.5", 1_452_837_352_500_000),
        ("0", 0),
    ],
)
def test_times_are_exact(ts: str, us: int) -> None:
    """To the microsecond: a float would make two of them one."""
    assert is_ts(ts)
    assert time_us(ts) == us
    assert time_us(ts_at(us)) == us


@pytest.mark.parametrize(
    "ts",
    [
        "",
        "x",
        "-1",
        "1e9",
        " 1",
        "1.",
        ".5",
        "1.0000001",
        "12345678901",
        "1\n",
        "١.0",
        None,
        1452837352.0,
        [],
    ],
)
def test_what_is_no_time(ts: object) -> None:
    """Anything else is no `ts`, and its record is counted by whoever reads it."""
    assert not is_ts(ts)


@pytest.mark.parametrize("value", [None, "", 7, [], "a\x00b", "x" * 256, "\ud800"])
def test_what_is_no_user(value: object) -> None:
    """A value that could be no user id here."""
    assert user_of(value) is None
    assert user_of("U1") == "U1"


@pytest.mark.parametrize(
    ("record", "author"),
    [
        ({"user": "U1", "bot_id": "B1", "username": "bot"}, "U1"),
        ({"bot_id": "B1", "username": "bot"}, "B1"),
        ({"comment": {"user": "U2"}, "username": "bot"}, "U2"),
        ({"username": "bot"}, "bot"),
        ({"bot_profile": {"id": "B2"}, "username": "bot"}, "B2"),
        ({"user": "", "bot_id": None, "comment": "text", "bot_profile": []}, None),
        ({}, None),
    ],
)
def test_authors(record: dict[str, object], author: str | None) -> None:
    """The user, else the bot, else whoever commented on a file, else a name."""
    assert author_of(record) == author


def test_ids_depend_on_everything_that_tells_orders_apart() -> None:
    """Same input, same id; another team, channel, time, kind, author or part, another one (AT-54)."""

    def identified(team: str, channel: str, ts: str, kind: str, author: str, *parts: str) -> str:
        source = Source(Conversation("public", channel, {}), team, Tally())
        return source.order(kind, ts, author, *parts).id

    base = ("acme", "C1", "1452837352.000006", "send", "U1", "message")
    assert identified(*base) == identified(*base)
    changed = ("other", "C2", "1452837352.000007", "edit", "U2", "edited")
    variants = {identified(*base[:n], change, *base[n + 1 :]) for n, change in enumerate(changed)}
    assert len(variants | {identified(*base)}) == len(base) + 1
    assert command_time_ms(command_id(identified(*base))) == 1_452_837_352_000
