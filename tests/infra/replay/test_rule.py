"""A replay's rule gives a line the same place and id in every run, and spreads lines like a workspace."""

from __future__ import annotations

from collections import Counter

import orjson
from hypothesis import given
from hypothesis import strategies as st

from infra.replay.rule import BadLine, Line, Rule, parse
from shared.ids import channel_id, command_time_ms

RULE = Rule("demo", "ubuntu-irc", channels=200, senders=50, receivers=50)


def line(number: int = 1, text: str = "hi") -> Line:
    return Line(number, "u0001", "2004-11-15T12:18:00Z", 1_100_521_080_000, text)


def test_places_are_fixed() -> None:
    """These lines are in these channels for ever: another answer would double every replayed log."""
    spread = RULE.spread()
    assert [spread.channel_of(number) for number in range(1, 11)] == [162, 0, 20, 7, 13, 0, 113, 23, 14, 161]


def test_ids_are_fixed() -> None:
    """The id of a line depends on workspace, file, number and content, and carries the original time."""
    known = RULE.line_id(line())
    assert known == "01003c2b-04c0-716c-958b-0c92fe8e2e60"
    assert command_time_ms(known) == line().at_ms
    assert RULE.line_id(line(2)) != known
    assert RULE.line_id(line(text="ho")) != known
    assert Rule("other", "ubuntu-irc", 200, 50, 50).line_id(line()) != known


def test_few_channels_carry_half() -> None:
    """As in real workspaces: fifteen of two hundred channels carry over half of the lines; none is empty."""
    spread = RULE.spread()
    counts = Counter(spread.channel_of(number) for number in range(1, 20_001))
    assert sum(count for _, count in counts.most_common(15)) > 10_000
    assert counts.most_common(1)[0][0] == 0
    assert set(counts) == set(range(200))


def test_each_receiver_has_about_twenty_channels_and_each_channel_as_many_receivers() -> None:
    """50 receivers × 20 channels over 200 channels: five listeners everywhere."""
    listeners = Counter(c for receiver in range(50) for c in RULE.memberships(receiver))
    assert all(len(RULE.memberships(receiver)) == 20 for receiver in range(50))
    assert set(listeners.values()) == {5}


@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 60), st.integers(1, 10**6))
def test_rule_is_total(channels: int, senders: int, receivers: int, number: int) -> None:
    """Any numbers: a valid channel with exactly one sender, and memberships that exist."""
    rule = Rule("demo", "a file (1)", channels, senders, receivers)
    channel = rule.spread().channel_of(number)
    assert 0 <= channel < channels
    assert 0 <= rule.sender_of(channel) < senders
    assert channel_id(rule.channel_name(channel))
    for receiver in range(receivers):
        assert all(0 <= c < channels for c in rule.memberships(receiver))


def test_bad_lines_keep_their_place() -> None:
    """A broken line is returned as such and still counts: the numbers of the others do not shift."""
    good = orjson.dumps({"ts": "2004-11-15T12:18:00Z", "user": "u", "text": "t"})
    found = list(parse([good, b"nonsense", b'{"ts": 5}', b'["x"]', good]))
    assert [type(entry) for entry in found] == [Line, BadLine, BadLine, BadLine, Line]
    assert isinstance(found[4], Line)
    assert found[4].number == 5
