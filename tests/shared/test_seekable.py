"""A seekable file reads as any other does."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.seekable import Seekable

CONTENT = bytes(range(100))
STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "set", "end", "current"]), st.integers(-20, 130)), max_size=20
)


class Held(Seekable):
    """All of it is here."""

    def piece(self, at: int, length: int) -> bytes:
        """A slice."""
        assert at + length <= len(CONTENT)
        return CONTENT[at : at + length]


@given(STEPS)
def test_it_is_as_any_file(steps: list[tuple[str, int]]) -> None:
    """Read and sought in any order, it gives what bytes in memory give."""
    ours, theirs = Held(len(CONTENT)), io.BytesIO(CONTENT)
    for what, number in steps:
        if what == "read":
            assert ours.read(number) == theirs.read(number)
        elif what == "set":
            assert ours.seek(abs(number)) == theirs.seek(abs(number))
        elif what == "end":
            assert ours.seek(-abs(number) % 100, io.SEEK_END) == theirs.seek(-abs(number) % 100, io.SEEK_END)
        else:
            assert ours.seek(abs(number), io.SEEK_CUR) == theirs.seek(abs(number), io.SEEK_CUR)
        assert ours.tell() == theirs.tell()


def test_who_has_the_bytes_must_say() -> None:
    """There is none here."""
    with pytest.raises(NotImplementedError):
        Seekable(3).read(1)
