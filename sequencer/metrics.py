"""Metrics of the sequencer. Labels: partitions, buckets, verdicts and outcomes, all closed sets (AT-83)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter(
    "parley_sequencer_events_total",
    "Log entries read: valid, void, stray (on no channel's subject) or skipped (already in a checkpoint).",
    ["partition", "verdict"],
)
POSITION = Gauge(
    "parley_sequencer_position", "Stream sequence up to which a log has been read.", ["partition"]
)
SAVED_POSITION = Gauge(
    "parley_sequencer_saved_position",
    "Stream sequence up to which checkpoints and directory are complete: where a restart would begin.",
    ["partition"],
)
CHANNELS = Gauge("parley_sequencer_channels", "Channels held in memory.", ["partition"])
LAG_S = Gauge("parley_sequencer_lag_seconds", "Age of the newest event when it was read.", ["partition"])
WRITES = Counter(
    "parley_sequencer_writes_total",
    "Bucket writes, by outcome: written, present (another sequencer wrote the same) or newer (it was ahead).",
    ["bucket", "outcome"],
)
WRITE_CONFLICTS = Counter(
    "parley_sequencer_write_conflicts_total",
    "Writes that met another revision and had to look again.",
    ["bucket"],
)
WRITE_FAILURES = Counter(
    "parley_sequencer_write_failures_total",
    "Rounds of bucket writes that failed and are repeated.",
    ["bucket"],
)
SAVE_S = Histogram("parley_sequencer_save_seconds", "Duration of a round of checkpoints.")
REBUILDS = Counter(
    "parley_sequencer_bucket_rebuilds_total", "Buckets that were gone and are written anew.", ["bucket"]
)
DIRECTORY_PENDING = Gauge("parley_sequencer_directory_pending", "Directory entries that wait to be written.")
HEADS = Counter("parley_sequencer_heads_total", "Heads broadcast to the edges.")
EPOCHS = Counter(
    "parley_sequencer_epochs_total", "Logs that were found to be replaced and got a new epoch.", ["partition"]
)
