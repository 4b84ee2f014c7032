"""A silence belongs to the fault that it began with, and lasts until the client is served again."""

from __future__ import annotations

from tests.chaos.silence import Injury, Silences


def spoken(silences: Silences, client: str, *times_s: float) -> None:
    """The client was served at these moments."""
    for time_s in times_s:
        silences.heard(client, time_s)


def test_a_silence_is_felt_until_the_last_client_is_served() -> None:
    """The longest silence is of one client; recovery takes until the slowest is back."""
    silences = Silences()
    spoken(silences, "ada", 9.9, 10.0, 13.0, 13.1)
    spoken(silences, "bob", 9.9, 12.0, 14.5)
    (felt,) = silences.felt([Injury("kill", "edge", 10.0, 11.0)])
    assert felt.longest_s == 3.0
    assert felt.recovered_s == 3.5


def test_each_fault_has_its_own_silences() -> None:
    """A silence that began with the first fault is not counted for the second, however long it lasts."""
    silences = Silences()
    spoken(silences, "ada", 10.0, 18.0, 18.1)
    spoken(silences, "bob", 14.9, 15.0, 16.0)
    first, second = silences.felt([Injury("kill", "edge", 10.0, 10.0), Injury("cut", "edge", 15.0, 15.5)])
    assert (first.longest_s, first.recovered_s) == (8.0, 8.0)
    assert (second.longest_s, second.recovered_s) == (1.0, 0.5)
    assert (first.who, second.who) == ("ada", "bob")
    assert first.alone
    assert not second.alone, "ada still waited"


def test_nothing_is_felt_of_a_fault_that_nobody_notices() -> None:
    """Clients that are served all the time have no silence."""
    silences = Silences()
    spoken(silences, "ada", *(number / 10 for number in range(200)))
    (felt,) = silences.felt([Injury("kill", "sequencer", 10.0, 10.0)])
    assert (felt.longest_s, felt.recovered_s) == (0.0, 0.0)
