"""Creating channels: the first event of a log, once, whoever makes it and however often."""

from __future__ import annotations

import pytest

from shared.errors import Conflict
from shared.events import ChannelCreated
from shared.ids import ChannelId, ChannelKey, WorkspaceId, direct_channel_id, new_command_id
from tests.support.recording import ANN, BOB, Edge, now_ms, posted


@pytest.mark.usefixtures("archiver")
async def test_creation_again(edge: Edge) -> None:
    """The same creation is a duplicate; another one under the same id is a conflict."""
    key = ChannelKey(WorkspaceId("w"), ChannelId("taken"))
    creation = ChannelCreated(id=new_command_id(now_ms()), author=ANN, channel_kind="public", name="x")
    feed, first = await edge.publisher.create(key, creation)
    for number in range(40):
        await edge.publisher.record(feed, posted(str(number)))
    _, again = await edge.publisher.create(key, creation)
    assert (again.seq, again.at_us, again.duplicate) == (1, first.at_us, True)
    other = creation.model_copy(update={"id": new_command_id(now_ms())})
    with pytest.raises(Conflict):
        await edge.publisher.create(key, other)


async def test_direct_channel_is_one_whoever_opens_it(edge: Edge) -> None:
    """Both members may create the channel between them; both get the same one."""
    members = frozenset({ANN, BOB})
    key = ChannelKey(WorkspaceId("w"), direct_channel_id(members))
    for author, duplicate in ((ANN, False), (BOB, True)):
        creation = ChannelCreated(
            id=new_command_id(now_ms()),
            author=author,
            channel_kind="direct",
            name="",
            members=tuple(sorted(members)),
        )
        _, recording = await edge.publisher.create(key, creation)
        assert (recording.seq, recording.duplicate) == (1, duplicate)
