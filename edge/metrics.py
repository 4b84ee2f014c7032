"""What the edge counts. Labels come from closed sets: never a channel, a user or an id (AT-83)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FEEDS = Gauge("parley_edge_feeds", "Channels that are active on this edge")
FEED_LIVE = Counter(
    "parley_edge_feed_live_total", "Republished messages by what the gap rule said", ["place"]
)
FEED_REPAIRS = Counter("parley_edge_feed_repairs_total", "Times that a feed read from the log what it missed")
FEED_RESETS = Counter("parley_edge_feed_resets_total", "Feeds that were given up", ["reason"])
FEED_SWEEPS = Counter("parley_edge_feed_sweeps_total", "Sweeps over the heads of all feeds", ["cause"])
COMMITS = Counter(
    "parley_edge_commits_total", "Events handed to JetStream by path and outcome", ["path", "outcome"]
)
