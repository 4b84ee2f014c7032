"""A NATS server whose disk was full takes messages again by itself, once there is room."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from infra.local import full_disk
from infra.local.credentials import load_or_create
from infra.local.data_directory import DataDirectory
from infra.nats.permissions import EDGE
from shared.bus import Bus
from shared.errors import OutcomeUnknown, Unavailable
from shared.ids import StreamSeq
from tests.chaos import disks
from tests.support.supervising import nats_plan, run_of, supervised
from tests.support.waiting import eventually


def test_pauses_grow_and_are_bounded() -> None:
    """A disk that fills up again and again is no reason to restart faster."""
    assert list(itertools.islice(full_disk.pauses_s(), 7)) == [10, 20, 40, 80, 160, 300, 300]


def test_room_is_that_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store, or where it cannot be asked, there is none."""
    assert full_disk.has_room(tmp_path)
    assert not full_disk.has_room(None)
    assert not full_disk.has_room(tmp_path / "gone")
    monkeypatch.setattr(full_disk, "ROOM_BYTES_MIN", 1 << 60)
    assert not full_disk.has_room(tmp_path)


@pytest.mark.faults
async def test_a_server_that_met_a_full_disk_is_restarted_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while the disk is full, and then without anybody's doing; what was acknowledged is there."""
    if why_not := disks.why_not_full(tmp_path):
        pytest.skip(why_not)
    monkeypatch.setattr(disks, "DISK_BYTES", 2 * full_disk.ROOM_BYTES_MIN)
    monkeypatch.setattr(full_disk, "POLL_S", 0.1)
    looks: list[bool] = []
    has_room = full_disk.has_room

    def noted(store: Path | None) -> bool:
        looks.append(has_room(store))
        return looks[-1]

    monkeypatch.setattr(full_disk, "has_room", noted)
    directory = DataDirectory(tmp_path / "data")
    planned = nats_plan(directory)
    (store,) = [child.store for child in planned.children]
    assert store is not None
    with disks.small_disk(store):
        async with supervised(planned, directory):
            settings = directory.settings_of_operator(run_of(directory))
            edge = settings.model_copy(
                update={
                    "nats_user": EDGE,
                    "nats_password": load_or_create(directory.credentials_file).nats[EDGE],
                }
            )
            async with Bus.connect(edge, "edge") as bus:
                stored = await _until_refused(bus, store)
                await eventually(lambda: len(looks) >= 3, within_s=60)
                assert not any(looks)
                assert run_of(directory).process("nats-1").restarts == 0
                disks.free(store)
                await eventually(lambda: _takes(bus), within_s=60)
                assert run_of(directory).process("nats-1").restarts == 1
                assert await bus.stored("LOG_0", stored) is not None


async def _until_refused(bus: Bus, store: Path) -> StreamSeq:
    """Fill the disk and write until the log takes nothing more; the last position that was acknowledged."""
    last = StreamSeq(0)
    for number in range(10_000):
        try:
            ack = await bus.commit("channel.0.w.c", bytes(1000), msg_id=f"{number}", deadline_s=1.0)
        except OutcomeUnknown:
            return last
        last = ack.stream_seq
        if number == 10:
            disks.fill(store)
    raise AssertionError("a full disk takes everything")


async def _takes(bus: Bus) -> bool:
    try:
        await bus.commit("channel.0.w.c", b"after", msg_id="after", deadline_s=1.0)
    except (OutcomeUnknown, Unavailable):
        return False
    return True
