"""What all sessions of one edge share, assembled once and handed to whoever needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from edge.archive import Archive
from edge.auth import Authenticator
from edge.breakers import Breakers
from edge.commands import Commands
from edge.core.breaker import Bounds
from edge.core.frames import CURSORS_OF_FRAME_MAX
from edge.core.greeting import Greeting
from edge.core.limits import Buckets, Rate
from edge.core.server_frames import Limits
from edge.core.session import Timing
from edge.directory import Directory
from edge.feeds import FeedLimits, Feeds
from edge.group_commit import GroupCommits
from edge.publisher import Publisher
from edge.reads import Reads
from edge.replayer import Replayer
from edge.rush import Rush
from edge.search import Search
from edge.settings import EdgeSettings
from edge.typing_board import TypingBoard
from edge.users import UserKey, Users
from shared.bus import Bus
from shared.streams import Layout
from shared.subjects import READS, bucket_stream, log_stream


@dataclass(frozen=True, slots=True)
class Node:
    """One edge."""

    name: str
    settings: EdgeSettings
    greeting: Greeting
    timing: Timing
    bus: Bus
    layout: Layout
    auth: Authenticator
    feeds: Feeds
    archive: Archive
    search: Search
    breakers: Breakers
    replayer: Replayer
    commands: Commands
    users: Users
    reads: Reads
    directory: Directory
    rush: Rush
    typing: TypingBoard
    user_buckets: Buckets[UserKey]


@asynccontextmanager
async def assembled(
    bus: Bus, layout: Layout, settings: EdgeSettings, auth: Authenticator
) -> AsyncIterator[Node]:
    """The node while its feeds run."""
    async with Feeds(bus, layout, _feed_limits(settings)) as feeds:
        archive = Archive(bus, layout.partitions, feeds.epochs.of)
        users = Users(bus)
        breakers = _breakers(bus, layout, settings)
        reads = Reads(bus, archive, breakers, spawn=feeds.spawn)
        typing = TypingBoard(bus, feeds, members_max=settings.typing_members_max)
        await typing.listen()
        name = settings.node or f"{settings.host}:{settings.port}"
        yield Node(
            name=name,
            settings=settings,
            greeting=Greeting(name, settings.heartbeat_s, _limits(settings)),
            timing=Timing(
                heartbeat_s=settings.heartbeat_s,
                stall_limit_s=settings.stall_limit_s,
                hello_deadline_s=settings.hello_deadline_s,
                token_grace_s=settings.token_grace_s,
            ),
            bus=bus,
            layout=layout,
            auth=auth,
            feeds=feeds,
            archive=archive,
            search=Search(bus, layout.partitions, feeds.epochs.of),
            breakers=breakers,
            replayer=Replayer(archive),
            commands=Commands(
                settings,
                feeds=feeds,
                publisher=Publisher(
                    bus, feeds, archive, breakers, _groups(bus, feeds, settings), layout.partitions
                ),
                archive=archive,
                users=users,
                reads=reads,
            ),
            users=users,
            reads=reads,
            directory=Directory(bus, spawn=feeds.spawn),
            rush=Rush(settings.sessions_max),
            typing=typing,
            user_buckets=Buckets("user", Rate(settings.user_rate, settings.user_burst)),
        )


def _limits(settings: EdgeSettings) -> Limits:
    return Limits(
        frame_bytes=settings.frame_bytes_max,
        text_bytes=settings.text_bytes_max,
        cursors_per_frame=CURSORS_OF_FRAME_MAX,
        commands_per_s=settings.connection_rate,
        commands_burst=settings.connection_burst,
        commands_in_flight=settings.commands_in_flight,
        typing_members=settings.typing_members_max,
    )


def _feed_limits(settings: EdgeSettings) -> FeedLimits:
    return FeedLimits(
        feeds_max=settings.feeds_max,
        linger_s=settings.feed_linger_s,
        ring_entries_max=settings.ring_entries_max,
        ring_bytes_max=settings.ring_bytes_max,
        rings_bytes_max=settings.rings_bytes_max,
    )


def _breakers(bus: Bus, layout: Layout, settings: EdgeSettings) -> Breakers:
    """One for every stream that an edge writes to."""
    return Breakers(
        [*(log_stream(partition) for partition in layout.epochs), bucket_stream(READS)],
        Bounds(settings.commit_slow_s, settings.stream_commits_max),
        in_flight_max=settings.commits_max,
        reachable=lambda: bus.connected,
    )


def _groups(bus: Bus, feeds: Feeds, settings: EdgeSettings) -> GroupCommits:
    """Several servers share their waits for the disk by themselves."""
    return GroupCommits(
        bus,
        grouping=settings.durability == "power" and settings.replicas == 1,
        waiting_max=settings.stream_commits_max,
        spawn=feeds.spawn,
    )
