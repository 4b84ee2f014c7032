"""What the edge counts. Labels come from closed sets: never a channel, a user or an id (AT-83)."""

from __future__ import annotations

import functools

from prometheus_client import Counter, Gauge, Histogram

from shared.loop_metrics import Count, LoopCounter, LoopHistogram, Spread
from shared.metrics import LATENCY_BUCKETS_S

FEEDS = Gauge("parley_edge_feeds", "Channels that are active on this edge")
FEED_LIVE = LoopCounter(
    "parley_edge_feed_live_total", "Republished messages by what the gap rule said", ["place"]
)
FEED_REPAIRS = Counter("parley_edge_feed_repairs_total", "Times that a feed read from the log what it missed")
FEED_ARCHIVED = Counter(
    "parley_edge_feed_archived_total", "Events that feeds read from the archive, because the log was trimmed"
)
FEED_RESETS = Counter("parley_edge_feed_resets_total", "Feeds that were given up", ["reason"])
FEED_SWEEPS = Counter("parley_edge_feed_sweeps_total", "Sweeps over the heads of all feeds", ["cause"])
COMMITS = LoopCounter(
    "parley_edge_commits_total", "Events handed to JetStream by path and outcome", ["path", "outcome"]
)
COMMITS_IN_FLIGHT = Gauge("parley_edge_commits_in_flight", "Commits that wait for JetStream's answer")
COMMITS_REFUSED = Counter(
    "parley_edge_commits_refused_total", "Commits that were refused unsent, by reason", ["reason"]
)
GROUPS = Counter("parley_edge_groups_total", "Batches of many clients' commits by outcome", ["outcome"])
GROUP_COMMITS = Histogram(
    "parley_edge_group_commits", "Commits in such a batch", buckets=(16, 24, 32, 48, 64, 96, 128, 200)
)
STREAM_STATE = Gauge(
    "parley_edge_stream_state", "Breaker of a stream: 0 closed, 1 half-open, 2 open", ["stream"]
)
BREAKERS_OPENED = Counter("parley_edge_breakers_opened_total", "Times that a stream stopped to answer")

SESSIONS = Gauge("parley_edge_sessions", "Sessions that are open on this edge")
SESSIONS_OPENED = LoopCounter("parley_edge_sessions_opened_total", "Sessions that said a good hello")
SESSIONS_CLOSED = Counter(
    "parley_edge_sessions_closed_total", "Connections that ended, by close code (0: none was seen)", ["code"]
)
SESSIONS_REFUSED = Counter(
    "parley_edge_sessions_refused_total", "Upgrades that were refused, by reason", ["reason"]
)
COMMANDS = LoopCounter("parley_edge_commands_total", "Commands by type and outcome", ["type", "outcome"])
COMMAND_SECONDS = LoopHistogram(
    "parley_edge_command_seconds",
    "Seconds from a command's arrival to its ack",
    ["type"],
    bounds=LATENCY_BUCKETS_S,
)
SUBSCRIPTIONS = Gauge("parley_edge_subscriptions", "Channels of all sessions together")
UNSENT = Gauge(
    "parley_edge_unsent_bytes", "Bytes that wait in this process for sockets that are full, of all sessions"
)
LAGGING = Counter("parley_edge_lagging_total", "Times that a session fell behind its feed in a channel")
RESUMES = LoopCounter("parley_edge_resumes_total", "Cursors that were resumed, by result", ["result"])
DELIVERED = LoopCounter("parley_edge_delivered_events_total", "Events written to sessions, live and replayed")
HELLOS_WAITING = Gauge("parley_edge_hellos_waiting", "Hellos that wait for their turn of the loop")
LISTS_WAITING = Gauge(
    "parley_edge_lists_waiting", "Sessions whose list of channels waits for others' welcome"
)
LISTING = Gauge("parley_edge_listing_entries", "Entries of the directory that are kept to list channels")
TYPING = Counter("parley_edge_typing_total", "Typing notices by what became of them", ["outcome"])
REQUESTS = Counter(
    "parley_edge_http_requests_total", "HTTP requests by route and status", ["route", "status"]
)


# `labels` locks, copies and looks up each time; these are asked for with every command.


@functools.cache
def commits(path: str, outcome: str) -> Count:
    """`COMMITS` of these labels."""
    return COMMITS.labels(path, outcome)


@functools.cache
def commits_refused(reason: str) -> Counter:
    """`COMMITS_REFUSED` of this label."""
    return COMMITS_REFUSED.labels(reason)


@functools.cache
def commands(kind: str, outcome: str) -> Count:
    """`COMMANDS` of these labels."""
    return COMMANDS.labels(kind, outcome)


@functools.cache
def command_seconds(kind: str) -> Spread:
    """`COMMAND_SECONDS` of this label."""
    return COMMAND_SECONDS.labels(kind)


@functools.cache
def resumes(result: str) -> Count:
    """`RESUMES` of this label."""
    return RESUMES.labels(result)
