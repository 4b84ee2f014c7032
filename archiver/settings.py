"""Settings of the archiver, read once from the environment (`PARLEY_…`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from shared.archive_store import S3_SCHEME
from shared.errors import Misconfigured
from shared.ids import Partition
from shared.settings import CommonSettings
from shared.streams import DUPLICATE_WINDOW_S

PAGE_CACHE_BYTES = 512 * 1024**2
"""Some 460 row groups of 8,192 events."""


class ArchiverSettings(CommonSettings):
    """Where the archive is, and how large its bounds are."""

    archive: str = Field(
        ".parley/archive",
        min_length=1,
        description="Where the archive is: a directory, or `s3://bucket/prefix` and the usual AWS variables.",
    )
    archiver_reader: bool = Field(
        False,
        description="Answer for an archive that other archivers write, and write nothing into it, as with "
        "`--reader`.",
    )
    archive_cache: Path | None = Field(
        None,
        validate_default=True,
        description="Directory of what is derived from the archive; none: `cache` in a local archive, else "
        "`.parley/archive-cache`. A reader has to be told one.",
    )
    reader_poll_s: float = Field(
        2.0,
        gt=0,
        description="Seconds between two looks of a reader for a newer manifest; in a bucket each costs a "
        "request per partition.",
    )
    archiver_partitions: str = Field(
        "",
        pattern=r"^(\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*)?$",
        description="Partitions that this archiver keeps, `0-3,6` for example; empty: all.",
    )
    flush_events: int = Field(
        50_000,
        ge=1,
        description="Events of a partition after which a segment is written; ingest pauses at twice.",
    )
    flush_bytes: int = Field(
        96 * 1024 * 1024,
        ge=1,
        description="Memory of its hot events after which a segment is written; ingest pauses at twice.",
    )
    flush_interval_s: float = Field(
        5.0, gt=0, description="Seconds after which a segment is written even if it is small."
    )
    orphan_grace_s: float = Field(
        900.0,
        ge=0,
        description="Age at which a file is removed that no manifest names any more; longer than any query.",
    )
    erased_grace_s: float = Field(
        120.0,
        ge=0,
        description="The same for a file with erased text: longer than a query of a user may take.",
    )
    log_keep_s: float = Field(
        172_800.0,
        ge=2 * DUPLICATE_WINDOW_S,
        description="Age at which events leave the log for good, if they are in Parquet and in checkpoints.",
    )
    retention_every_s: float = Field(
        3600.0,
        gt=0,
        description="Seconds between two looks for messages whose channel keeps them no longer.",
    )
    query_timeout_s: float = Field(
        5.0, gt=0, description="Seconds after which an archive query is interrupted."
    )
    query_memory: str = Field("512MB", description="Memory limit of DuckDB.")
    query_workers: int = Field(2, ge=1, le=64, description="Archive queries that run at once.")
    page_cache_bytes: int = Field(
        PAGE_CACHE_BYTES,
        ge=0,
        description="Memory of a process for row groups of the archive that pages were read from.",
    )
    search_timeout_s: float = Field(
        2.0, gt=0, description="Seconds after which a question to the search index is interrupted."
    )
    search_workers: int = Field(2, ge=1, le=64, description="Questions to search indexes that run at once.")
    sql_queries_max: int = Field(
        4, ge=0, description="SQL queries of users that this archiver runs at once; 0: it takes none."
    )
    sql_user_queries_max: int = Field(2, ge=1, description="SQL queries of one user that it runs at once.")
    sql_bytes_max: int = Field(65_536, ge=1, description="Length of a user's SQL query.")
    sql_memory_bytes: int = Field(
        2 * 1024**3, ge=512 * 1024**2, description="Address space of the process that runs a user's query."
    )
    sql_cpu_s: int = Field(30, ge=1, description="Processor seconds that a user's query may take.")
    sql_time_s: float = Field(
        60.0, gt=0, description="Seconds that a user's query may take, reading its result included."
    )
    sql_output_bytes: int = Field(
        256 * 1024**2, ge=1, description="Bytes that the result of a user's query may have."
    )
    sql_idle_s: float = Field(
        10.0, gt=0, description="Seconds after which a query is ended whose result nobody reads."
    )
    sql_threads: int = Field(2, ge=1, le=64, description="Threads of a user's query.")
    sql_reads: int = Field(
        8,
        ge=1,
        le=64,
        description="Pieces that a user's query asks a bucket for at once, and its threads there.",
    )
    sql_read_bytes: int = Field(
        16 * 1024**3, ge=1, description="Bytes that a user's query may read of an archive in a bucket."
    )
    sql_unconfined: bool = Field(
        False,
        description="Run users' queries also where nothing but DuckDB keeps them from writing the archive.",
    )
    applied_wait_s: float = Field(
        2.0, gt=0, description="Seconds that a request waits for the log's position that it names."
    )

    @field_validator("archive_cache")
    @classmethod
    def _is_the_readers_own(cls, archive_cache: Path | None, others: ValidationInfo) -> Path | None:
        if others.data.get("archiver_reader"):
            if archive_cache is None:
                raise ValueError("a reader needs a directory of its own")
            archive = str(others.data.get("archive", ""))
            if S3_SCHEME not in archive and archive_cache.resolve().is_relative_to(Path(archive).resolve()):
                raise ValueError("a reader writes nothing into the archive: name a directory outside of it")
        return archive_cache

    @property
    def cache_dir(self) -> Path:
        """Where derived files are, on this machine."""
        if self.archive_cache is not None:
            return self.archive_cache
        if self.archive.startswith(S3_SCHEME):
            return Path(".parley/archive-cache")
        return Path(self.archive) / "cache"

    def own_partitions(self, partitions: int) -> tuple[Partition, ...]:
        """Those that this archiver keeps, of so many. Raises `Misconfigured` for ones that there are not."""
        if not self.archiver_partitions:
            return tuple(Partition(number) for number in range(partitions))
        own: set[Partition] = set()
        for part in self.archiver_partitions.split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            if not numbers or numbers[-1] >= partitions:
                raise Misconfigured(
                    f"PARLEY_ARCHIVER_PARTITIONS: {part}: the partitions are 0 to {partitions - 1}"
                )
            own.update(map(Partition, numbers))
        return tuple(sorted(own))
