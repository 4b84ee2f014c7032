"""Creating a channel: which id it gets, and which cannot be chosen."""

from __future__ import annotations

import pytest

from edge.core import actions
from edge.core import frames as f
from edge.core.principal import Principal
from shared import events as e
from shared.errors import BadRequest, InvalidId, ParleyError
from shared.ids import ChannelId, UserId, WorkspaceId, direct_channel_id, new_command_id, private_channel_id

ID = new_command_id(1_790_000_000_000)
ANN, BOB, EVE = UserId("ann"), UserId("bob"), UserId("eve")


def create(kind: e.ChannelKind, **fields: object) -> tuple[ChannelId, e.ChannelCreated]:
    """What Bob's creation means."""
    command = f.CreateChannel.model_validate({"type": "create_channel", "id": ID, "kind": kind, **fields})
    return actions.creation_of(command, Principal(BOB, WorkspaceId("w"), frozenset()))


def test_public_channel_has_the_chosen_id() -> None:
    """Its name is its id if none is given; the creator is no second time among the members."""
    channel_id, event = create("public", channel="tea", members=[EVE, BOB, ANN])
    assert (channel_id, event.name, event.members) == ("tea", "tea", (ANN, EVE))


def test_private_channel_has_a_derived_id() -> None:
    """The same creation again is the same channel; nobody can choose or probe the id."""
    channel_id, event = create("private", name="secret")
    assert channel_id == private_channel_id(BOB, ID) == create("private", name="secret")[0]
    assert event.name == "secret"


def test_direct_channel_is_its_members() -> None:
    """The order in which they are named does not matter, and the creator is one of them."""
    first, event = create("direct", members=[EVE, ANN])
    second, _ = create("direct", members=[ANN, BOB, EVE])
    assert first == second == direct_channel_id(frozenset({ANN, BOB, EVE}))
    assert event.members == (ANN, BOB, EVE)


def test_direct_channel_is_small() -> None:
    """Twenty people at most, the creator counted."""
    people = [f"u{n}" for n in range(actions.DIRECT_MEMBERS_MAX)]
    assert len(create("direct", members=people[1:])[1].members) == actions.DIRECT_MEMBERS_MAX
    with pytest.raises(BadRequest):
        create("direct", members=people)


@pytest.mark.parametrize(
    ("kind", "chosen", "refusal"),
    [
        ("public", None, BadRequest),
        ("public", "p_mine", InvalidId),
        ("public", "d_ours", InvalidId),
        ("private", "mine", BadRequest),
        ("direct", "ours", BadRequest),
    ],
)
def test_ids_that_cannot_be_chosen(
    kind: e.ChannelKind, chosen: str | None, refusal: type[ParleyError]
) -> None:
    """Only public channels have chosen ids, and none that looks derived."""
    with pytest.raises(refusal):
        create(kind, channel=chosen)
