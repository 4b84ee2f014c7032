"""Ids: validated once, derived for ever, and every user one NATS token."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidId
from shared.ids import (
    USER_BYTES_MAX,
    UserId,
    channel_id,
    command_id,
    command_time_ms,
    derived_command_id,
    direct_channel_id,
    new_command_id,
    private_channel_id,
    user_from_token,
    user_id,
    user_token,
    workspace_id,
)
from tests.support.events import users

BAD_NAMES = ["", "a.b", "a*", ">", "a b", "é", "a\n", "x" * 65, "a/b", "=41", "\x00", "٣"]
TIMES = st.integers(0, 2**48 - 1)


@pytest.mark.parametrize("text", BAD_NAMES)
def test_a_name_that_is_no_token_is_refused(text: str) -> None:
    """A channel or workspace id with a dot, wildcard, blank or other character never reaches a subject."""
    for validate in (channel_id, workspace_id):
        with pytest.raises(InvalidId):
            validate(text)


@pytest.mark.parametrize("text", ["a", "-", "_", "A-Z_09", "x" * 64])
def test_a_name_passes_unchanged(text: str) -> None:
    """A valid id is its own token."""
    assert channel_id(text) == workspace_id(text) == text


@given(users())
def test_a_user_survives_its_token(user: UserId) -> None:
    """Any `sub` becomes one NATS token and comes back without loss."""
    token = user_token(user)
    assert user_from_token(token) == user
    assert not set(token) & set(". *>\t\r\n")
    assert token.isascii()


@given(users(), users())
def test_two_users_have_two_tokens(one: UserId, other: UserId) -> None:
    """No two users share a token, not even one that looks escaped."""
    assert (user_token(one) == user_token(other)) == (one == other)


@given(st.text("=0123456789ABCDEFabcdefxyz_-. *>\n", max_size=12))
def test_only_what_user_token_makes_is_a_token(text: str) -> None:
    """A token that `user_token` cannot have made is refused: a user has one name, not several."""
    try:
        user = user_from_token(text)
    except InvalidId:
        return
    assert user_token(user) == text


@pytest.mark.parametrize("token", ["", "=", "=4", "=41", "=zz", "=FF", "=public", "a.b", "a=0", "=00"])
def test_a_foreign_token_is_refused(token: str) -> None:
    """Unfinished, needless, lower-case and non-UTF-8 escapes are no tokens."""
    with pytest.raises(InvalidId):
        user_from_token(token)


@pytest.mark.parametrize(
    "text", ["", "\x00", "a\nb", "\x7f", "\ud800", "é" * 128, "x" * (USER_BYTES_MAX + 1)]
)
def test_a_bad_user_is_refused(text: str) -> None:
    """Empty, too long in bytes, control characters, lone surrogates: no user id."""
    with pytest.raises(InvalidId):
        user_id(text)


def test_the_longest_user_is_allowed() -> None:
    """The bound counts bytes and is inclusive."""
    assert user_id("x" * USER_BYTES_MAX)
    assert user_id("é" * 127)


@given(TIMES)
def test_a_new_command_id_is_a_uuid7_of_its_time(now_ms: int) -> None:
    """The form is RFC 9562's: version, variant, and the time in the first 48 bits."""
    command = new_command_id(now_ms)
    parsed = uuid.UUID(command)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == now_ms == command_time_ms(command)
    assert command_id(command) == command


def test_new_command_ids_differ() -> None:
    """Two commands of one millisecond have two ids."""
    assert len({new_command_id(1) for _ in range(1000)}) == 1000


@given(TIMES, st.lists(st.text(st.characters()), max_size=4))
def test_a_derived_id_is_a_uuid7_and_stable(time_ms: int, parts: list[str]) -> None:
    """The same input has the same valid id on every run; text from elsewhere may be no valid Unicode."""
    command = derived_command_id(time_ms, *parts)
    assert command == derived_command_id(time_ms, *parts)
    assert command_id(command) == command
    assert command_time_ms(command) == time_ms


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_other_parts_have_another_id(one: list[str], other: list[str]) -> None:
    """Parts are kept apart: no separator inside a part can make two inputs one."""
    assert (derived_command_id(1, *one) == derived_command_id(1, *other)) == (one == other)


def test_derived_ids_never_change() -> None:
    """These values are in archives: another algorithm would import everything a second time."""
    command = derived_command_id(1_100_000_000_000, "#ubuntu", "42")
    assert command == "01001d1b-f800-70cb-9ab0-c5e6d6983312"
    assert private_channel_id(UserId("alice"), command) == "p_e01ee26c42d6b77cd996569f"
    assert direct_channel_id(frozenset({UserId("alice"), UserId("bob")})) == "d_38ed8ff7f70ef75edac4bbda"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01001d1b-f800-4f57-9b29-03e0a2b4a4d7",
        "01001d1b-f800-7f57-1b29-03e0a2b4a4d7",
        "01001D1B-F800-7F57-9B29-03E0A2B4A4D7",
        "01001d1bf8007f579b2903e0a2b4a4d7",
        "01001d1b-f800-7f57-9b29-03e0a2b4a4d7\n",
    ],
)
def test_an_id_that_is_no_canonical_uuid7_is_refused(text: str) -> None:
    """Other versions, variants and spellings would be the same id twice."""
    with pytest.raises(InvalidId):
        command_id(text)


@given(st.frozensets(users(), min_size=2, max_size=5))
def test_a_set_of_users_has_one_direct_channel(members: frozenset[UserId]) -> None:
    """The id depends on who is in it, not on who asks, and is a valid channel id."""
    direct = direct_channel_id(members)
    assert direct == direct_channel_id(frozenset(sorted(members, reverse=True)))
    assert channel_id(direct) == direct
    assert direct != direct_channel_id(members - {min(members)})


@given(users(), users())
def test_a_private_channel_belongs_to_its_creation(one: UserId, other: UserId) -> None:
    """Another creator or another command makes another channel, never a taken name."""
    command = new_command_id(5)
    made = private_channel_id(one, command)
    assert channel_id(made) == made
    assert (made == private_channel_id(other, command)) == (one == other)
    assert made != private_channel_id(one, new_command_id(5))
