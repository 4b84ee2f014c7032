"""Slices hold what they may, and together everything."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from edge.core.slices import SLICE_BYTES, first_slice


class Item(NamedTuple):
    body: bytes


@given(st.lists(st.integers(0, 2 * SLICE_BYTES).map(lambda size: Item(bytes(size)))))
def test_slices_are_as_large_as_they_may_be(items: list[Item]) -> None:
    """No slice exceeds the limit unless it is one item alone, and none could have held the next item, too."""
    rest, found = list(items), list[Item]()
    while rest:
        part = first_slice(rest)
        size = sum(len(item.body) for item in part)
        assert len(part) == 1 or size <= SLICE_BYTES
        rest = rest[len(part) :]
        assert not rest or size + len(rest[0].body) > SLICE_BYTES
        found += part
    assert found == items
