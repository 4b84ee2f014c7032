"""The data directory (`.parley/` by default): its paths, and how to get at the system that runs in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from infra.local.credentials import Credentials, load
from infra.local.run_file import Run, held
from infra.nats.permissions import OPERATOR
from shared.errors import Misconfigured, Unavailable
from shared.settings import CommonSettings

DEFAULT = Path(".parley")


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Paths below one directory; all of them can be deleted together and nothing else exists."""

    path: Path

    @property
    def credentials_file(self) -> Path:
        """Passwords and the token secret, mode 0600."""
        return self.path / "credentials.json"

    @property
    def lock(self) -> Path:
        """Locked by the supervisor for as long as it lives."""
        return self.path / "lock"

    @property
    def run_file(self) -> Path:
        """What runs: see `Run`."""
        return self.path / "run.json"

    @property
    def logs(self) -> Path:
        """One file per child."""
        return self.path / "logs"

    @property
    def nats(self) -> Path:
        """Configuration and store of each NATS server."""
        return self.path / "nats"

    @property
    def archive(self) -> str:
        """The Parquet archive: what `PARLEY_ARCHIVE` says, a directory or a bucket, else one in here."""
        return os.environ.get("PARLEY_ARCHIVE") or str(self.path.absolute() / "archive")

    def reader_cache(self, name: str) -> Path:
        """What a reader derives from the archive: nobody else writes there."""
        return self.path.absolute() / "readers" / name

    @property
    def running(self) -> bool:
        """Whether a supervisor lives here."""
        return held(self.lock)

    def claim_stores(self, servers: int) -> None:
        """The log is kept by so many NATS servers here, now and ever after. The caller holds the lock.

        Raises `Misconfigured` for another number: a cluster does not take over what a single server stored,
        nor the other way round. It begins empty logs in the same place, and the old ones are gone.
        """
        stores = sum(1 for _ in self.nats.glob("nats-*/jetstream"))
        record = self.nats / "servers"
        if stores:
            known = int(record.read_text()) if record.exists() else stores
            if known != servers:
                raise Misconfigured(
                    f"the log in {self.path} is kept by {known} NATS server(s), and {servers} would begin an "
                    f"empty one: start with --nats {known}, or in another directory with --data"
                )
        self.nats.mkdir(parents=True, exist_ok=True)
        partial = record.with_suffix(".partial")
        partial.write_text(f"{servers}\n")
        partial.replace(record)

    def credentials(self) -> Credentials:
        """Raises `Misconfigured` before the first start."""
        return load(self.credentials_file)

    def run(self) -> Run:
        """What runs here; raises `Unavailable` if nothing does."""
        if not self.running or not self.run_file.exists():
            raise Unavailable(f"Parley does not run in {self.path}: start it with `parley up`")
        return Run.model_validate_json(self.run_file.read_bytes())

    def operator_settings(self) -> CommonSettings:
        """Settings for a bus as the operator: may read everything and publish no event."""
        return self.settings_of_operator(self.run())

    def settings_of_operator(self, run: Run) -> CommonSettings:
        """The same for a run that is known."""
        return CommonSettings(
            nats_url=run.nats_url,
            nats_user=OPERATOR,
            nats_password=self.credentials().nats[OPERATOR],
            partitions=run.partitions,
            replicas=run.replicas,
        )
