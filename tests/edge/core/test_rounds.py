"""Who is looked at when: everybody, never early, and soon after their time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.core.rounds import Rounds

SLOT_S = 0.5
_item = st.integers(0, 5)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _item, st.floats(-5, 40)),
        st.tuples(st.just("drop"), _item, st.just(0.0)),
        st.tuples(st.just("look"), st.just(0), st.floats(0, 9)),
    ),
    max_size=80,
)


@given(began_s=st.floats(0, 1e6), steps=_steps)
def test_a_look_finds_those_whose_time_has_come(began_s: float, steps: list[tuple[str, int, float]]) -> None:
    """Whatever is put, moved and dropped: nobody early, nobody forgotten, nobody twice."""
    rounds: Rounds[int] = Rounds(began_s, SLOT_S)
    waiting: dict[int, float] = {}
    now_s = began_s
    for what, item, seconds in steps:
        if what == "put":
            waiting[item] = max(now_s, now_s + seconds)  # what is over already is due with the next look
            rounds.put(item, now_s + seconds)
        elif what == "drop":
            waiting.pop(item, None)
            rounds.drop(item)
        else:
            now_s += seconds
            found = rounds.take(now_s)
            assert len(found) == len(set(found))
            assert all(waiting[it] <= now_s for it in found)
            assert all(it in found for it, at_s in waiting.items() if at_s + 2 * SLOT_S <= now_s)
            for it in found:
                del waiting[it]
        assert len(rounds) == len(waiting)
        assert set(rounds) == set(waiting)
        assert [it for it in range(6) if it in rounds] == sorted(waiting)


def test_a_look_takes_what_is_long_over() -> None:
    """After a clock that stood still for hours nobody has been passed over."""
    rounds: Rounds[str] = Rounds(100.0, SLOT_S)
    rounds.put("soon", 101.0)
    rounds.put("later", 5000.0)
    assert rounds.take(100.9) == []
    assert set(rounds.take(90_000.0)) == {"soon", "later"}
    rounds.put("again", 200.0)
    assert rounds.take(90_001.0) == ["again"]
