"""Who may read what, as of now: by the fold of this archive, hot events included.

The rule is that of the edge (`edge.core.actions.visible`): the public channels of the workspace, and those
that one is a member of. A read index comes first, so who was removed and whose removal was acknowledged
before the question is not answered any more, and a channel that was just joined is.
"""

from __future__ import annotations

from archiver.partition import PartitionArchive
from archiver.read_index import ReadIndex
from archiver.threads import Threads
from shared.ids import ChannelId, UserId, WorkspaceId


class Access:
    """Of one partition."""

    def __init__(self, archive: PartitionArchive, index: ReadIndex, lookups: Threads) -> None:
        self._archive = archive
        self._index = index
        self._lookups = lookups

    async def readable(self, workspace: WorkspaceId, user: UserId) -> frozenset[ChannelId]:
        """The channels of this partition that the user may read; all that was acknowledged is applied.

        Raises `Unavailable`.
        """
        await self._index.now()
        # Hot events first: what they say goes from there to the cache and never back.
        hot = self._archive.hot.readable(workspace, user)
        cold = await self._lookups.run(self._archive.cache.readable, workspace, user)
        return frozenset({*(cold - hot.keys()), *(channel for channel, may in hot.items() if may)})
