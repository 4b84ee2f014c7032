"""What an export says about a channel itself: its members, its name, whether it is closed (AT-55)."""

from __future__ import annotations

from shared.ids import channel_id
from tests.support.slack import CHANNEL, converted, message


def test_creation_and_members() -> None:
    """The channel keeps Slack's id and time, its creator creates it, its other members are invited."""
    conversion, tally = converted()
    assert conversion.channel == "C1"
    assert conversion.create.origin.author == "U1"
    assert conversion.create.origin.at == "2016-01-15T05:55:18.000Z"
    assert conversion.create.fields["kind"] == "public"
    assert [(o.kind, o.fields["user"]) for o in conversion.orders] == [("invite", "U2")]
    assert not tally.skipped


def test_membership_and_channel_changes() -> None:
    """Joins, leaves, topics, names and archiving are events of their own."""
    conversion, _ = converted(
        message("1.0", subtype="channel_join", user="U2"),
        message("2.0", subtype="channel_topic", topic="green tea"),
        message("3.0", subtype="channel_name", name="coffee"),
        message("4.0", subtype="channel_leave", user="U2"),
        message("5.0", subtype="channel_archive"),
    )
    assert [(o.kind, dict(o.fields)) for o in conversion.orders] == [
        ("join", {}),
        ("update_channel", {"topic": "green tea"}),
        ("update_channel", {"name": "coffee"}),
        ("leave", {}),
        ("update_channel", {"archived": True}),
    ]


def test_archived_channel_is_closed_last() -> None:
    """`is_archived` without a record: the channel is closed after its last message."""
    conversion, _ = converted(message("9.0"), channel={**CHANNEL, "is_archived": True})
    assert conversion.orders[-1].fields == {"archived": True}


def test_private_and_direct_conversations() -> None:
    """Only a public channel keeps its id; a direct one has its members from the start."""
    private, _ = converted(message("1.0", subtype="group_join", user="U2"), kind="private")
    assert private.channel is None
    assert [o.kind for o in private.orders] == ["invite"]
    direct, _ = converted(kind="direct", channel={"id": "D1", "created": 1, "members": ["U1", "U2"]})
    assert direct.channel is None
    assert direct.create.fields["members"] == ["U1", "U2"]
    assert direct.orders == []


def test_a_channel_without_an_id_has_one_made_from_its_name() -> None:
    """The same every time, and one that the server takes."""
    conversion, _ = converted(channel={"id": "name/été", "name": "été"})
    assert conversion.channel == converted(channel={"id": "name/été", "name": "été"})[0].channel
    assert channel_id(conversion.channel or "").startswith("slack_")
    assert conversion.create.fields["name"] == "été"


def test_the_list_of_members_is_true_at_the_end() -> None:
    """Whoever has gone without a record leaves, whoever is back is invited, a creator who has gone is out
    before anything is said."""
    channel = {**CHANNEL, "creator": "U9", "members": ["U2", "U3"]}
    conversion, _ = converted(
        message("1.0", subtype="channel_join", user="U1"),
        message("2.0", subtype="channel_leave", user="U2"),
        message("9999999999.0"),
        channel=channel,
    )
    assert [(o.kind, o.fields.get("user", o.origin.author)) for o in conversion.orders] == [
        ("leave", "U9"),
        ("invite", "U3"),
        ("join", "U1"),
        ("leave", "U2"),
        ("send", "U1"),
        ("leave", "U1"),
        ("invite", "U2"),
    ]
    assert [o.origin.at for o in conversion.orders[-2:]] == ["1970-01-01T00:00:02.000Z"] * 2
