"""Clients that lose their edge spread over the others, and find the one that is left."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from shared.client.addresses import Addresses

URLS = ["a", "b", "c", "d"]
SEEDS = range(3_000)


def of(seed: int, urls: list[str] = URLS) -> Addresses:
    return Addresses(urls, random.Random(seed).randrange)


def test_first_choices_are_even() -> None:
    """Clients that start together do not all begin at the first address."""
    first = Counter(of(seed).following(held=False) for seed in SEEDS)
    assert set(first) == set(URLS)
    assert min(first.values()) > 0.8 * len(SEEDS) / 4


@pytest.mark.parametrize("left", URLS)
def test_clients_of_one_edge_spread_over_the_others(left: str) -> None:
    """An edge that drains or dies after sessions were open: its clients go to all others alike."""
    went: Counter[str] = Counter()
    for seed in SEEDS:
        addresses = of(seed)
        if addresses.following(held=False) == left:
            went[addresses.following(held=True)] += 1
    assert set(went) == set(URLS) - {left}
    assert min(went.values()) > 0.7 * went.total() / 3


@pytest.mark.parametrize("dead", URLS)
def test_clients_of_a_dead_edge_spread_when_they_come_back(dead: str) -> None:
    """A first try that fails leads to any of the others as well."""
    went: Counter[str] = Counter()
    for seed in SEEDS:
        addresses = of(seed)
        if addresses.following(held=False) == dead:
            went[addresses.following(held=False)] += 1
    assert set(went) == set(URLS) - {dead}
    assert min(went.values()) > 0.7 * went.total() / 3


def test_every_other_is_tried_before_one_is_tried_again() -> None:
    """With one edge left a client finds it within a round, wherever it was; and none twice in a row."""
    for seed in SEEDS:
        addresses = of(seed)
        home = addresses.following(held=False)
        round_ = [
            addresses.following(held=True),
            addresses.following(held=False),
            addresses.following(held=False),
        ]
        assert sorted([home, *round_]) == URLS
        again = [addresses.following(held=False) for _ in range(3)]
        assert again[0] != round_[-1]
        assert len(set(again)) == 3


def test_one_address_is_dialled_again() -> None:
    """Also if it was named twice."""
    addresses = of(1, ["a", "a"])
    assert [addresses.following(held=held) for held in (False, False, True, False)] == ["a"] * 4


def test_no_address_is_an_error() -> None:
    """It is said at once, and not when the client is opened."""
    with pytest.raises(ValueError, match="address"):
        of(1, [])
