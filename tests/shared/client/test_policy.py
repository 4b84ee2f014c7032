"""After a close the client waits, renews its token once, or stops, as the code says (P10)."""

from __future__ import annotations

import pytest

from shared.client.errors import SessionEnded
from shared.client.policy import FIRST_WAIT_S, GOING_AWAY, STABLE_S, WAIT_MAX_S, Reconnect, Renew, Wait


def policy(*, renewable: bool = False) -> Reconnect:
    return Reconnect(lambda ceiling: ceiling, renewable=renewable)


def ended(reconnect: Reconnect, code: int, *, retry: float | None = None, held: float = 0.0) -> Wait | Renew:
    return reconnect.ended(code, "r", retry_after_s=retry, held_s=held)


@pytest.mark.parametrize("code", [1000, 1006, 1012, 4000, 4001, 4002, 4003, 4004, 4400, 429, 503])
def test_resumable_codes_come_back(code: int) -> None:
    """Network failures and 4000 to 4499 lead to another try."""
    assert ended(policy(), code) == Wait(FIRST_WAIT_S)


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 4999, 1007, 1009, 400, 401, 403, 404])
def test_final_codes_stop(code: int) -> None:
    """4500 to 4999 and what a repetition cannot mend end the client (AT-61)."""
    with pytest.raises(SessionEnded) as caught:
        ended(policy(), code)
    assert caught.value.close_code == code


@pytest.mark.parametrize("code", [401, 4500, 4501, 4502])
def test_new_token_is_asked_for_once(code: int) -> None:
    """A refused token leads to one new token; if that is refused too, the client stops (AT-61)."""
    reconnect = policy(renewable=True)
    assert ended(reconnect, code) == Renew()
    with pytest.raises(SessionEnded):
        ended(reconnect, code)


def test_new_token_may_be_asked_for_again_after_a_session_held() -> None:
    """Tokens expire every hour: each time is a first time."""
    reconnect = policy(renewable=True)
    assert ended(reconnect, 4501) == Renew()
    assert ended(reconnect, 4501, held=STABLE_S) == Renew()


def test_waits_grow_to_a_bound() -> None:
    """Failure after failure the ceiling doubles, up to half a minute."""
    reconnect = policy()
    waits = [ended(reconnect, 1006) for _ in range(10)]
    assert waits[:3] == [Wait(0.5), Wait(1.0), Wait(2.0)]
    assert waits[-1] == Wait(WAIT_MAX_S)


def test_short_session_does_not_reset_the_wait() -> None:
    """A server that accepts and fails at once is not hammered (AT-65)."""
    reconnect = policy()
    ended(reconnect, 1006)
    assert ended(reconnect, 1006, held=STABLE_S / 2) == Wait(2 * FIRST_WAIT_S)
    assert ended(reconnect, 1006, held=STABLE_S) == Wait(FIRST_WAIT_S)


def test_sent_elsewhere_is_no_failure() -> None:
    """Short sessions of a rolling restart do not make the wait grow; a node that lets nobody in does."""
    reconnect = policy()
    for _ in range(5):
        assert ended(reconnect, GOING_AWAY, held=STABLE_S / 2) == Wait(FIRST_WAIT_S)
    ended(reconnect, GOING_AWAY)
    assert ended(reconnect, GOING_AWAY) == Wait(2 * FIRST_WAIT_S)


def test_advice_is_the_least_wait() -> None:
    """`retry_after` is waited out, and jitter is added to it (AT-64)."""
    assert ended(policy(), 4000, retry=3.0) == Wait(3.0 + FIRST_WAIT_S)
