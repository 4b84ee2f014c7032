"""A command of each sort, the event that it becomes, and a channel in which Bob sends it."""

from __future__ import annotations

from edge.core import frames as f
from edge.core.actions import Target
from edge.core.principal import Principal
from shared import events as e
from shared.channel import ChannelState
from shared.ids import Seq, UserId, WorkspaceId, new_command_id

ID = new_command_id(1_790_000_000_000)
ANN, BOB, EVE, LEO = UserId("ann"), UserId("bob"), UserId("eve"), UserId("leo")
HIS, HERS = Target(Seq(3), BOB), Target(Seq(3), ANN)
KINDS: tuple[e.ChannelKind, ...] = ("public", "private", "direct")

IN_CHANNEL = {"id": ID, "channel": "c"}
ON_TARGET = {**IN_CHANNEL, "ref": 3}
COMMANDS: dict[str, f.InChannel] = {
    "send": f.Send(**IN_CHANNEL, type="send", text="t"),
    "reply": f.Send(**IN_CHANNEL, type="send", text="t", thread=3),
    "edit": f.Edit(**ON_TARGET, type="edit", text="t"),
    "delete": f.Delete(**ON_TARGET, type="delete"),
    "react": f.React(**ON_TARGET, type="react", emoji="e"),
    "unreact": f.Unreact(**ON_TARGET, type="unreact", emoji="e"),
    "pin": f.Pin(**ON_TARGET, type="pin"),
    "unpin": f.Unpin(**ON_TARGET, type="unpin"),
    "join": f.Join(**IN_CHANNEL, type="join"),
    "leave": f.Leave(**IN_CHANNEL, type="leave"),
    "invite": f.Invite(**IN_CHANNEL, type="invite", user=EVE),
    "invite admin": f.Invite(**IN_CHANNEL, type="invite", user=EVE, role="admin"),
    "kick": f.Kick(**IN_CHANNEL, type="kick", user=LEO),
    "kick nobody": f.Kick(**IN_CHANNEL, type="kick", user=EVE),
    "set_role": f.SetRole(**IN_CHANNEL, type="set_role", user=LEO, role="admin"),
    "rename": f.UpdateChannel(**IN_CHANNEL, type="update_channel", name="n"),
    "topic": f.UpdateChannel(**IN_CHANNEL, type="update_channel", topic=""),
    "archive": f.UpdateChannel(**IN_CHANNEL, type="update_channel", archived=True),
    "unarchive": f.UpdateChannel(**IN_CHANNEL, type="update_channel", archived=False),
    "retention": f.UpdateChannel(**IN_CHANNEL, type="update_channel", retention_days=30),
    "no retention": f.UpdateChannel(**IN_CHANNEL, type="update_channel", retention_days=None),
    "erase": f.Erase(**IN_CHANNEL, type="erase", ref=3),
    "erase user": f.Erase(**IN_CHANNEL, type="erase", user=ANN),
}
KIND_OF_EVENT = {
    "send": "message.posted",
    "reply": "message.posted",
    "edit": "message.edited",
    "delete": "message.deleted",
    "react": "reaction.added",
    "unreact": "reaction.removed",
    "pin": "pin.added",
    "unpin": "pin.removed",
    "join": "member.joined",
    "leave": "member.left",
    "invite": "member.invited",
    "invite admin": "member.invited",
    "kick": "member.removed",
    "kick nobody": "member.removed",
    "set_role": "member.role_changed",
    "rename": "channel.renamed",
    "topic": "channel.topic_set",
    "archive": "channel.archived",
    "unarchive": "channel.unarchived",
    "retention": "channel.retention_set",
    "no retention": "channel.retention_set",
    "erase": "message.erased",
    "erase user": "user.erased",
}


def channel(kind: e.ChannelKind, role: e.Role | None, *, archived: bool = False) -> ChannelState:
    """A channel in which Ann is an admin, Leo a member, and Bob what the test says."""
    members: dict[UserId, e.Role] = {ANN: "admin", LEO: "member"}
    if role is not None:
        members[BOB] = role
    return ChannelState(kind=kind, name="c", created_by=ANN, members=members, archived=archived)


def bob(*scopes: str) -> Principal:
    """The caller of every test."""
    return Principal(BOB, WorkspaceId("w"), frozenset(scopes))
