"""Events of channels whose messages expire."""

from __future__ import annotations

from archiver.retention import AUTHOR
from shared import events as e
from shared.clock import rfc3339
from shared.ids import Seq, new_command_id
from tests.support.archive import ALICE
from tests.support.events import NOW_MS


def kept(days: int | None) -> e.ChannelRetentionSet:
    """An admin sets the channel's retention."""
    return e.ChannelRetentionSet(id=new_command_id(NOW_MS), author=ALICE, days=days)


def edited(ref: int, text: str) -> e.MessageEdited:
    """An edit by the author."""
    return e.MessageEdited(id=new_command_id(NOW_MS), author=ALICE, ref=Seq(ref), ref_author=ALICE, text=text)


def expiry(since: int, before: int, older_us: int) -> e.MessagesExpired:
    """What an archiver says."""
    return e.MessagesExpired(
        id=new_command_id(NOW_MS),
        author=AUTHOR,
        since=Seq(since),
        before=Seq(before),
        older_than=rfc3339(older_us),
    )
