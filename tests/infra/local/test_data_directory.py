"""The data directory: what was fixed at its first start stays fixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.data_directory import DataDirectory
from infra.local.options import Options
from infra.local.system import run
from shared.errors import Misconfigured


def with_stores(path: Path, servers: int) -> DataDirectory:
    """A directory in which so many NATS servers have stored something."""
    for number in range(servers):
        (path / "nats" / f"nats-{number + 1}" / "jetstream").mkdir(parents=True)
    return DataDirectory(path)


@pytest.mark.parametrize(("before", "now"), [(1, 3), (3, 1)])
def test_another_number_of_servers_is_refused(tmp_path: Path, before: int, now: int) -> None:
    """It would begin an empty log and drop the old one; the error names the number that works."""
    directory = with_stores(tmp_path, before)
    directory.claim_stores(before)
    with pytest.raises(Misconfigured, match=f"--nats {before}"):
        directory.claim_stores(now)
    directory.claim_stores(before)


def test_servers_are_counted_where_no_number_was_kept(tmp_path: Path) -> None:
    """A directory without the record is read by its stores."""
    directory = with_stores(tmp_path, 3)
    with pytest.raises(Misconfigured, match="--nats 3"):
        directory.claim_stores(1)
    directory.claim_stores(3)


def test_the_number_is_free_until_something_is_stored(tmp_path: Path) -> None:
    """A first start that failed binds nobody; one that was cut short while stores appeared does."""
    directory = DataDirectory(tmp_path)
    directory.claim_stores(1)
    directory.claim_stores(3)
    with_stores(tmp_path, 2)
    directory.claim_stores(3)
    with pytest.raises(Misconfigured, match="--nats 3"):
        directory.claim_stores(1)


def test_up_refuses_before_anything_starts(tmp_path: Path) -> None:
    """`parley up --nats 3` on the data of one server leaves everything as it was."""
    with_stores(tmp_path, 1).claim_stores(1)
    with pytest.raises(Misconfigured, match="--nats 1"):
        run(Options(data=tmp_path, port=0, nats=3))
    directory = DataDirectory(tmp_path)
    assert not directory.running
    assert not list(directory.nats.glob("*.conf"))
    assert not directory.logs.exists()
