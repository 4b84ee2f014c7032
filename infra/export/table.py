"""A Parquet file with the archive's columns, by channel and number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from infra.export.source import SCHEMA, Source

GROUP_ROWS = 65_536
_DICTIONARY = ["workspace", "channel", "kind", "author", "void"]


def write_table(source: Source, path: Path, progress: Callable[[int], None]) -> int:
    """Write the selected events to `path`; returns how many.

    Row groups have one size, however the archive's files are cut: the same events are the same bytes.
    """
    written = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=_DICTIONARY) as writer:
        waiting = SCHEMA.empty_table()
        for batch in source.batches():
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(SCHEMA)])
            written += batch.num_rows
            while waiting.num_rows >= GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS), row_group_size=GROUP_ROWS)
                waiting = waiting.slice(GROUP_ROWS)
            progress(written)
        if waiting.num_rows:
            writer.write_table(waiting, row_group_size=GROUP_ROWS)
    return written
