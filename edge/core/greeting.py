"""The `welcome` of an edge (P6): what is the same for all sessions is encoded once."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from edge.core import codec
from edge.core.principal import Principal
from edge.core.server_frames import Limits

Fields = dict[str, object]
"""Those of a `ChannelInfo`."""


class Greeting:
    """One per edge."""

    def __init__(self, node: str, heartbeat_s: float, limits: Limits) -> None:
        self._node = node
        self._heartbeat_s = heartbeat_s
        self._limits = orjson.Fragment(codec.encode(limits))

    def welcome(
        self,
        session: str,
        principal: Principal,
        channels: Sequence[Fields],
        *,
        more: bool,
        server_time: str,
        expires_at: str | None,
    ) -> bytes:
        """The JSON of a `Welcome`: a crowd gets thousands, at a quarter of what models cost."""
        expiry = {} if expires_at is None else {"expires_at": expires_at}
        return orjson.dumps(
            {
                "type": "welcome",
                "session": session,
                "node": self._node,
                "user": principal.user,
                "workspace": principal.workspace,
                "server_time": server_time,
                **expiry,
                "heartbeat_s": self._heartbeat_s,
                "limits": self._limits,
                "channels": channels,
                "more": more,
            }
        )


def page_of(channels: Sequence[Fields], *, more: bool) -> bytes:
    """The JSON of a `Channels`."""
    return orjson.dumps({"type": "channels", "channels": channels, "more": more})
