"""The columns of a segment: what `Row` is in Arrow and Parquet."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("workspace", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        # Naive UTC: DuckDB is 7 to 200 times slower on timestamps with a zone.
        pa.field("ts", pa.timestamp("us"), nullable=False),
        pa.field("text", pa.string()),
        pa.field("ref", pa.int64()),
        pa.field("thread", pa.int64()),
        pa.field("id", pa.uuid()),
        pa.field("void", pa.string()),
        pa.field("extras", pa.string()),
        pa.field("stream_seq", pa.int64(), nullable=False),
    ]
)
