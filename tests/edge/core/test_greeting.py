"""What is encoded without a model is what the model would have been encoded to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.core import codec
from edge.core.greeting import Fields, Greeting, page_of
from edge.core.principal import Principal
from edge.core.server_frames import ChannelInfo, Channels, Limits, Welcome
from shared.ids import UserId, WorkspaceId

LIMITS = Limits(
    frame_bytes=1,
    text_bytes=2,
    cursors_per_frame=3,
    commands_per_s=4.5,
    commands_burst=5,
    commands_in_flight=6,
    typing_members=7,
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**53 - 1)
CHANNELS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.just("general"),
            "kind": st.sampled_from(["public", "private", "direct"]),
            "name": TEXTS,
            "topic": TEXTS,
            "role": st.sampled_from(["admin", "member"]),
            "epoch": TEXTS,
            "head": NUMBERS,
            "read": NUMBERS,
            "unread": NUMBERS,
            "archived": st.booleans(),
            "members": NUMBERS,
        },
        optional={"retention_days": NUMBERS},
    ).map(lambda fields: {name: fields[name] for name in ChannelInfo.model_fields if name in fields}),
    max_size=3,
)


@given(CHANNELS, TEXTS, st.sampled_from([20.0, 0.5, 25]), st.booleans(), st.none() | TEXTS)
def test_welcome_is_its_model(
    channels: list[Fields], text: str, heartbeat_s: float, more: bool, expires_at: str | None
) -> None:
    """Byte for byte, whatever names people choose; a token that never expires is not mentioned (P6)."""
    model = Welcome(
        session=text,
        node=text,
        user=UserId(text),
        workspace=WorkspaceId("w"),
        server_time=text,
        expires_at=expires_at,
        heartbeat_s=heartbeat_s,
        limits=LIMITS,
        channels=[ChannelInfo.model_validate(fields) for fields in channels],
        more=more,
    )
    principal = Principal(UserId(text), WorkspaceId("w"))
    assert codec.encode(model) == Greeting(text, float(heartbeat_s), LIMITS).welcome(
        text, principal, channels, more=more, server_time=text, expires_at=expires_at
    )


@given(CHANNELS, st.booleans())
def test_a_page_is_its_model(channels: list[Fields], more: bool) -> None:
    """The rest of the list has the same form as its beginning."""
    infos = [ChannelInfo.model_validate(fields) for fields in channels]
    assert codec.encode(Channels(channels=infos, more=more)) == page_of(channels, more=more)
