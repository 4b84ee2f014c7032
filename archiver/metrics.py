"""What the archiver measures. Labels are partitions and operations, never channels or users."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter(
    "parley_archive_events", "Events that are in Parquet since this process began", ["partition"]
)
WATERMARK = Gauge("parley_archive_watermark", "Newest stream sequence that is in Parquet", ["partition"])
APPLIED = Gauge("parley_archive_applied", "Newest stream sequence that the archiver knows", ["partition"])
SEGMENTS = Gauge("parley_archive_segments", "Live Parquet files", ["partition"])
HOT_BYTES = Gauge("parley_archive_hot_bytes", "Memory of events that are not in Parquet yet", ["partition"])
PAUSES = Counter("parley_archive_pauses", "Times that ingest paused at its memory bound", ["partition"])
FLUSH_SECONDS = Histogram(
    "parley_archive_flush_seconds",
    "Time to write and publish a segment",
    buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
)
FLUSH_FAILURES = Counter("parley_archive_flush_failures", "Segments that the disk refused", ["partition"])
TAKEOVER_SECONDS = Histogram(
    "parley_archive_takeover_seconds",
    "Time in which a reader takes a newer manifest over",
    buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
)
READ_FAILURES = Counter(
    "parley_archive_read_failures",
    "Looks of a reader for a newer manifest that the store refused",
    ["partition"],
)
REOPENED = Counter(
    "parley_archive_reopened",
    "Times that a reader opened an archive again: its end was beyond what memory holds, or its log another",
    ["partition"],
)
QUERY_SECONDS = Histogram(
    "parley_archive_query_seconds",
    "Time of a query of the archive's files, waiting included",
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0),
)
FOOTER_GROUPS = Gauge("parley_archive_footer_groups", "Row groups of which it is known what they hold")
FOOTERS_READ = Counter(
    "parley_archive_footers_read", "Footers of segments that were read, for a page or ahead of all", ["why"]
)
GROUPS_READ = Counter(
    "parley_archive_groups_read", "Row groups that pages needed, by where they were", ["where"]
)
GROUPS_KEPT_BYTES = Gauge("parley_archive_groups_kept_bytes", "Memory of row groups that are kept")
TRIMMED = Gauge(
    "parley_archive_trimmed",
    "Newest stream sequence that was trimmed from the log",
    ["partition"],
)
ERASURES = Counter("parley_archive_erasures", "Erasures that were carried out in Parquet")
EXPIRIES = Counter(
    "parley_archive_expiries", "Times that messages of a channel were let expire", ["partition"]
)
LATE_EDITS = Counter(
    "parley_archive_late_edits", "Edits that came behind the erasure of their message", ["partition"]
)
LATE_EDIT_FAILURES = Counter(
    "parley_archive_late_edit_failures", "Looks for such edits that came to no end", ["partition"]
)
RETENTION_FAILURES = Counter(
    "parley_archive_retention_failures", "Looks for expired messages that came to no end", ["partition"]
)
RUNS = Gauge("parley_archive_runs", "Sorted runs: a page may have to look into each", ["partition"])
MERGE_SECONDS = Histogram(
    "parley_archive_merge_seconds",
    "Time to merge runs, waiting included",
    buckets=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
)
MERGED_ROWS = Counter("parley_archive_merged_rows", "Events that were written again by merging runs")
MERGE_FAILURES = Counter("parley_archive_merge_failures", "Merges that the disk refused", ["partition"])
REQUESTS = Counter("parley_archive_requests", "Requests answered", ["operation"])
SEARCHABLE = Gauge(
    "parley_archive_searchable", "Newest stream sequence that is in the search index", ["partition"]
)
INDEXED = Counter("parley_archive_indexed", "Events taken into the search index", ["partition"])
INDEX_SECONDS = Histogram(
    "parley_archive_index_seconds",
    "Time to take a batch of events into the search index",
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
)
INDEX_PURGE_SECONDS = Histogram(
    "parley_archive_index_purge_seconds",
    "Time to write a search index anew without what was erased",
    buckets=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
)
INDEX_FAILURES = Counter(
    "parley_archive_index_failures", "Batches that the search index refused", ["partition"]
)
SEARCH_SECONDS = Histogram(
    "parley_archive_search_seconds",
    "Time in the search index, waiting for a thread included",
    ["sort"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
)
SQL_QUERIES = Counter("parley_archive_sql_queries", "SQL queries of users that ended", ["outcome"])
SQL_READS = Counter(
    "parley_archive_sql_reads", "Pieces of files that SQL queries of users asked a bucket for", ["outcome"]
)
SQL_READ_BYTES = Counter("parley_archive_sql_read_bytes", "Bytes that they were given of it")
SQL_RUNNING = Gauge("parley_archive_sql_running", "SQL queries of users that run now")
SQL_SECONDS = Histogram(
    "parley_archive_sql_seconds",
    "Time of a user's SQL query, reading its result included",
    buckets=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0),
)
