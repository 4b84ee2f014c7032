"""What is to be exported, as a condition on the archive's view `events`."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ids import ChannelId, UserId, WorkspaceId

FIELDS_SQL = "coalesce(json_extract_string(extras, '$.body'), extras)"
"""The JSON that holds those fields of an event that have no column: see `shared.archive_rows`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Whole channels of a workspace (None: all of them), or in all channels what a user did or had done to
    him: his events, his memberships, what others did to his messages in his place.
    """

    workspace: WorkspaceId
    channels: tuple[ChannelId, ...] | None = None
    user: UserId | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every event of each channel belongs to it."""
        return self.user is None

    @property
    def where(self) -> str:
        """The condition, with `parameters`."""
        if self.user is not None:
            return f"workspace = ? AND ({_ABOUT})"
        if self.channels is not None:
            return "workspace = ? AND channel IN (SELECT unnest(?))"
        return "workspace = ?"

    @property
    def parameters(self) -> list[object]:
        """One for each question mark of `where`."""
        if self.user is not None:
            return [self.workspace, *[self.user] * _ABOUT.count("?")]
        return [self.workspace] if self.channels is None else [self.workspace, list(self.channels)]


_ABOUT = f"""author = ?
    OR (kind LIKE 'member.%' OR kind = 'user.erased') AND json_extract_string({FIELDS_SQL}, '$.user') = ?
    OR kind IN ('message.edited', 'message.deleted') AND json_extract_string({FIELDS_SQL}, '$.ref_author') = ?
    OR kind = 'channel.created'
        AND list_contains(json_extract({FIELDS_SQL}, '$.members')::VARCHAR[], ?)"""
