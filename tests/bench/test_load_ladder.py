"""The ladder of `path`: who climbs on, and what is told of whom."""

from __future__ import annotations

import pytest

from tests.bench.contenders import CENTRIFUGO, MEMBERS, PARLEY, Turn, wrong_of
from tests.bench.crowd import SHARES, Received
from tests.bench.load_ladder import CASE, PEER_CASE, figures_of, is_climbing, keeps_up, kept, latency_plot


def _turn(
    ms: float = 1.0, *, through: float = 1.0, refused: int = 0, unanswered: int = 0, wrong: int = 0
) -> Turn:
    latency_ms = {share: ms * place for place, share in enumerate(SHARES, 1)}
    servers_us = {"edge": 100 * ms, "nats": 50 * ms}
    load_us = {"clients": 20.0, "senders": 10.0}
    return Turn(through, refused, unanswered, wrong, latency_ms, latency_ms, servers_us, load_us, 0.1)


def test_a_backlog_ends_the_climb() -> None:
    """One disturbed turn of three does not, and neither does slowness alone."""
    late, slow = _turn(through=0.7), _turn(900.0)
    assert keeps_up([slow, slow, late])
    assert not keeps_up([slow, late, late])
    assert is_climbing({})
    assert not is_climbing({200: [slow], 500: [late]})


@pytest.mark.parametrize("turn", [_turn(refused=1), _turn(unanswered=1), _turn(wrong=1)])
def test_what_is_refused_or_lost_ends_the_climb(turn: Turn) -> None:
    """Once is enough: the latency of the others would not tell of it."""
    assert not keeps_up([_turn(), turn, _turn()])
    assert kept({200: [_turn()], 500: [turn]}) == [200]


def test_every_delivery_counts_once() -> None:
    """Missing for an acknowledged message, more than were sent, holes; a refused one may have been stored."""

    def received(events: int, gaps: int = 0) -> Received:
        return Received(events, gaps, closed=0, late_ms={})

    assert wrong_of(received(10 * MEMBERS), acks=10, sent=10) == 0
    assert wrong_of(received(10 * MEMBERS - 3), acks=10, sent=10) == 3
    assert wrong_of(received(10 * MEMBERS + 2), acks=10, sent=10) == 2
    assert wrong_of(received(10 * MEMBERS), acks=9, sent=10) == 0
    assert wrong_of(received(10 * MEMBERS, gaps=4), acks=10, sent=10) == 4


def test_rates_are_told_as_far_as_each_kept_up() -> None:
    """What a server could not sustain has no figures, and is nobody's reference."""
    own = {500: [_turn(2.0)], 1000: [_turn(3.0)], 2000: [_turn(4.0)]}
    peer = {500: [_turn()], 1000: [_turn(through=0.5)]}
    figures = figures_of({PARLEY: own, CENTRIFUGO: peer})
    cases = {figure.case for figure in figures}
    own_cases = {f"{CASE}, {per_s} msg/s" for per_s in ("500", "1,000", "2,000")}
    assert cases == {CASE, f"{CASE}, 500 msg/s: {PEER_CASE}", *own_cases}
    height = next(figure for figure in figures if figure.figure == "kept up to")
    assert (height.value, height.reference, height.ratio) == (2000, 500, 4)
    assert {figure.ratio for figure in figures if figure.case == f"{CASE}, 2,000 msg/s"} == {None}


def test_both_are_compared_within_a_turn() -> None:
    """The same ratio whatever the machine did between the turns; the CPU of all servers is their sum."""
    own, peer = ([_turn(ms * factor) for ms in (1.0, 9.0, 5.0)] for factor in (3.0, 1.5))
    figures = figures_of({PARLEY: {1000: own}, CENTRIFUGO: {1000: peer}})
    told = {one.figure: one for one in figures if one.case == f"{CASE}, 1,000 msg/s"}
    for name in ("ack p50", "delivery p99", "CPU of all servers"):
        assert told[name].ratio == 2
        assert told[name].reference_name == CENTRIFUGO
    assert told["CPU of all servers"].value == told["CPU of edge"].value + told["CPU of nats"].value


def test_one_rate_is_judged() -> None:
    """Delivery p99 of Parley, at 1,000 messages a second and no other; and that nothing is wrong at any."""
    climb = {per_s: [_turn(ms)] for per_s, ms in ((200, 50.0), (1000, 6.0), (2000, 50.0))}
    climb[5000] = [_turn(wrong=7)]
    figures = figures_of({PARLEY: climb})
    judged = {(figure.case, figure.figure, figure.met) for figure in figures if figure.target is not None}
    assert judged == {
        (CASE, "kept up to", True),
        (CASE, "deliveries missing, doubled or out of order", False),
        (f"{CASE}, 1,000 msg/s", "delivery p99", True),
    }
    assert all(figure.reference is None for figure in figures)


def test_who_keeps_up_with_nothing_is_told() -> None:
    """No latency that could meet a target, but a height of 0 that does not; nothing is drawn."""
    climbs = {PARLEY: {200: [_turn(through=0.2)]}, CENTRIFUGO: {200: [_turn(through=0.1)]}}
    heights = [figure for figure in figures_of(climbs) if figure.figure == "kept up to"]
    assert [(one.value, one.reference, one.ratio, one.met) for one in heights] == [(0, 0, None, False)]
    assert not any(latency_plot(climbs).lines.values())


def test_latency_is_drawn_over_the_offered_load() -> None:
    """The medians of p50 and p99, as far as each kept up."""
    own = {200: [_turn(1.0), _turn(2.0), _turn(9.0)], 500: [_turn(4.0)]}
    plot = latency_plot({PARLEY: own, CENTRIFUGO: {200: [_turn(1.0)], 500: [_turn(through=0.1)]}})
    assert plot.lines == {
        "Parley: p50": [(200, 2), (500, 4)],
        "Parley: p99": [(200, 6), (500, 12)],
        f"{CENTRIFUGO}: p50": [(200, 1)],
        f"{CENTRIFUGO}: p99": [(200, 3)],
    }
