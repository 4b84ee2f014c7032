"""Who may say and hear what on NATS: one user per service, and only the subjects that it needs.

Derived from `shared.subjects` and `shared.streams`; whatever is not listed is refused by the server. What
matters most: an edge, the only service that strangers talk to, cannot write what the sequencer derives
(checkpoints, directory, heads), cannot forge what the stream republishes (`live`), and cannot touch a
stream's configuration. Events are the edges' to publish, and the archiver's, which lets messages expire; not
even the operator's.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import subjects
from shared.ids import Partition

EDGE = "edge"
SEQUENCER = "sequencer"
ARCHIVER = "archiver"
READER = "reader"
OPERATOR = "operator"
USERS = (EDGE, SEQUENCER, ARCHIVER, READER, OPERATOR)

# A subject wildcard stands for a whole token, so `STREAM.INFO.LOG_*` cannot be said: reading is allowed on
# every stream, changing only by name.
_ASKED_BY_EDGES = (
    "history",
    "messages",
    "ids",
    "count",
    "status",
    "search",
    "texts",
    "open",
    "next",
    "close",
)
_READ = ("$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>")


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish to and subscribe to; `answers`: may reply to requests it receives."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


def permissions(partitions: int) -> dict[str, Permissions]:
    """The permissions of every user for this number of partitions."""
    return {
        EDGE: Permissions(
            publish=(
                "channel.*.*.*",
                "ephemeral.*.*.*",
                "user.*.*.read",
                "user.*.*.membership",  # a hint ahead of the sequencer's word
                f"$KV.{subjects.READS}.>",
                *(f"archive.*.{operation}" for operation in _ASKED_BY_EDGES),
                *_READ,
            ),
            subscribe=(
                *_inbox(EDGE),
                "live.>",
                "heads.*",
                subjects.EPHEMERAL,
                "user.*.*.*",
                subjects.LEADER_ELECTED,
            ),
        ),
        SEQUENCER: Permissions(
            publish=(
                "heads.*",
                "user.*.*.membership",
                f"$KV.{subjects.CHECKPOINTS}.>",
                f"$KV.{subjects.DIRECTORY}.>",
                "archive.*.heads",
                *(f"$JS.API.STREAM.CREATE.{stream}" for stream in _streams(partitions)),
                *_replace(partitions),
                *_READ,
                *_follow(partitions),
            ),
            subscribe=_inbox(SEQUENCER),
        ),
        ARCHIVER: _answering(ARCHIVER, "channel.*.*.*", *_follow(partitions), *_trim(partitions)),
        READER: _answering(READER, *_follow(partitions)),
        OPERATOR: Permissions(
            publish=("$JS.API.>", "$JS.ACK.>", "archive.*.*", f"$KV.{subjects.CHECKPOINTS}.*.position"),
            subscribe=(">",),
        ),
    }


def _answering(user: str, *more: str) -> Permissions:
    """Whoever answers about the archive, and asks others who may read what."""
    return Permissions(
        publish=("archive.*.readable", *_READ, *more),
        subscribe=(*_inbox(user), "archive.*.*"),
        answers=True,
    )


def _inbox(user: str) -> tuple[str, ...]:
    """Each user has inboxes of its own, so that nobody hears the answers that others get."""
    return (f"{subjects.inbox_prefix(user)}.>",)


def _follow(partitions: int) -> tuple[str, ...]:
    """Consumers on the logs: create, pull, acknowledge, remove; on no other stream."""
    logs = _logs(partitions)
    operations = ("CREATE", "DURABLE.CREATE", "INFO", "MSG.NEXT", "DELETE")
    return (
        *(f"$JS.API.CONSUMER.{operation}.{log}.>" for log in logs for operation in operations),
        *(f"$JS.ACK.{log}.>" for log in logs),
    )


def _trim(partitions: int) -> tuple[str, ...]:
    """At the front of the logs, what the archive holds."""
    return tuple(f"$JS.API.STREAM.PURGE.{log}" for log in _logs(partitions))


def _replace(partitions: int) -> tuple[str, ...]:
    """For a log that was restored: a new label, and nothing that was derived from the lost events."""
    return (
        *(f"$JS.API.STREAM.UPDATE.{log}" for log in _logs(partitions)),
        f"$JS.API.STREAM.PURGE.{subjects.bucket_stream(subjects.CHECKPOINTS)}",
        f"$JS.API.STREAM.DELETE.{subjects.bucket_stream(subjects.DIRECTORY)}",
    )


def _streams(partitions: int) -> list[str]:
    return _logs(partitions) + [subjects.bucket_stream(bucket) for bucket in subjects.BUCKETS]


def _logs(partitions: int) -> list[str]:
    return [subjects.log_stream(Partition(number)) for number in range(partitions)]
