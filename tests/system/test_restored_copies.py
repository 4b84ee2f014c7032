"""Three copies of a log: older ones instead of all are another log, an older one instead of one is not."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.cli.access import socket_url
from infra.nats.config import ACCOUNT
from infra.nats.leaders import Move, leader_of, move_leader, settled
from infra.nats.permissions import ARCHIVER, EDGE, SEQUENCER
from infra.proof.check import Report, check
from shared.archive_files import epochs_set_aside
from shared.bus import Bus, BusError
from shared.client import Client, Reset
from shared.errors import Unavailable
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, WorkspaceId, workspace_id
from shared.log_epochs import proven
from shared.retry import Deadline
from shared.subjects import log_stream, partition_of
from tests.support.cluster import PARTITIONS, SERVERS, operator_settings, servers_of_cluster, variables
from tests.support.nats import NatsServer
from tests.support.peer import SECRET, WORKSPACE, token
from tests.support.sequencing import all_saved
from tests.support.services import ServiceProcess
from tests.support.waiting import eventually

P0 = Partition(0)
LOG = log_stream(P0)
PATIENCE_S = 120.0

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(500)]


@dataclass
class Cluster:
    """Three servers, two sequencers, an archiver and an edge; `bus` is the operator's."""

    folder: Path
    servers: Mapping[str, NatsServer]
    sequencers: list[ServiceProcess]
    archiver: ServiceProcess
    edge: ServiceProcess
    bus: Bus

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    async def each(self, what: str, names: Collection[str]) -> None:
        """`start` or `stop` these servers, all at once."""
        await asyncio.gather(*(asyncio.to_thread(getattr(self.servers[name], what)) for name in names))

    async def copy(self) -> Path:
        """What each server stores of the log, as a backup would have it."""
        directories = await self._directories()
        await self.each("stop", SERVERS)
        for name in SERVERS:
            for directory in directories:
                await asyncio.to_thread(
                    shutil.copytree, self._store(name) / directory, self._copy(name) / directory
                )
        await self.each("start", SERVERS)
        await self.whole()
        return self.folder / "copies"

    async def restore(self, names: Collection[str], meanwhile: Collection[ServiceProcess] = ()) -> None:
        """Put the copies of these servers in the place of what they store; some services die meanwhile."""
        directories = await self._directories()
        await self.each("stop", names)
        for service in meanwhile:
            service.kill()
        for name in names:
            for directory in directories:
                await asyncio.to_thread(shutil.rmtree, self._store(name) / directory)
                await asyncio.to_thread(
                    shutil.copytree, self._copy(name) / directory, self._store(name) / directory
                )
        await self.each("start", names)
        await asyncio.gather(self.whole(), *(service.start() for service in meanwhile))

    async def whole(self) -> None:
        """Returns when every copy has what the leader has."""

        async def is_whole() -> bool:
            with contextlib.suppress(Unavailable, BusError):
                return bool(await settled(self.bus, LOG, Deadline.after(10)))
            return False

        await eventually(is_whole, within_s=PATIENCE_S)

    async def checked(self) -> Report:
        return await check(
            self.bus, self.archive, PARTITIONS, workspace=workspace_id(WORKSPACE), wait_s=PATIENCE_S
        )

    async def epoch(self) -> Epoch:
        return (await proven(self.bus, P0)).epoch

    async def _directories(self) -> list[str]:
        """The log's messages, and its Raft group's own log."""
        info = await self.bus.api(f"STREAM.INFO.{LOG}", {})
        cluster = info["cluster"]
        assert isinstance(cluster, dict)
        return [f"{ACCOUNT}/streams/{LOG}", f"$SYS/_js_/{cluster['raft_group']}"]

    def _store(self, name: str) -> Path:
        return self.folder / name / "jetstream"

    def _copy(self, name: str) -> Path:
        return self.folder / "copies" / name


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """All of it running."""
    servers = servers_of_cluster(tmp_path)

    def service(module: str, name: str, user: str, **settings: str) -> ServiceProcess:
        return ServiceProcess(module, tmp_path / f"{name}.log", **variables(servers, user), **settings)

    sequencers = [service("sequencer", f"sequencer-{number}", SEQUENCER) for number in range(2)]
    archiver = service(
        "archiver",
        "archiver",
        ARCHIVER,
        PARLEY_ARCHIVE=str(tmp_path / "archive"),
        PARLEY_FLUSH_INTERVAL_S="0.5",
    )
    edge = service("edge", "edge", EDGE, PARLEY_JWT_SECRET=SECRET)
    services = [*sequencers, archiver, edge]
    try:
        for server in servers.values():
            server.start()
        async with Bus.connect(operator_settings(servers), "test") as bus:
            for one in services:
                await one.start()
            yield Cluster(tmp_path, servers, sequencers, archiver, edge, bus)
    finally:
        for one in services:
            if one.running:
                one.kill()
        for server in servers.values():
            server.kill()


@contextlib.asynccontextmanager
async def client(cluster: Cluster) -> AsyncIterator[tuple[Client, set[str]]]:
    """Somebody on the edge, and the channels that were reset for her."""
    resets: set[str] = set()

    async def follow(ann: Client) -> None:
        async for update in ann.events():
            if isinstance(update, Reset):
                resets.add(update.channel)

    async with Client(socket_url(f"http://127.0.0.1:{cluster.edge.port}"), token("ann")) as ann:
        following = asyncio.create_task(follow(ann))
        try:
            yield ann, resets
        finally:
            following.cancel()


async def test_older_copies_of_all(cluster: Cluster) -> None:
    """One new epoch, whoever else begins again in the middle: clients are reset, what was lost is named."""
    kept, gone = _channels_of_partition_0(2)
    async with client(cluster) as (ann, resets):
        await ann.create_channel("public", "kept", channel=kept)
        await ann.send(kept, "kept")
        await cluster.copy()
        await ann.create_channel("public", "gone", channel=gone)
        for number in range(4):
            await ann.send(kept, f"lost {number}")
        await eventually(lambda: all_saved(cluster.bus), within_s=PATIENCE_S, every_s=0.2)
        assert (await cluster.checked()).clean
        before = await cluster.epoch()
        await cluster.restore(SERVERS, meanwhile=[cluster.archiver, cluster.edge, cluster.sequencers[1]])
        await eventually(lambda: bool(epochs_set_aside(cluster.archive)), within_s=PATIENCE_S)
        verdict = await proven(cluster.bus, P0)
        assert verdict.replaced == (before,)
        await eventually(lambda: kept in resets, within_s=PATIENCE_S)
        assert (await ann.send(kept, "again")).seq == 3
        report = await cluster.checked()
    (aside,) = epochs_set_aside(cluster.archive)
    assert aside.name == before
    told = [named.partition("; ids")[0] for named in report.named]
    assert told == sorted(
        [
            f"{WORKSPACE}/{gone} #1: 1 event lost with epoch {before}: seqs 1",
            f"{WORKSPACE}/{kept} #3: 4 events lost with epoch {before}: seqs 3-6",
        ]
    )
    assert await cluster.epoch() == verdict.epoch


async def test_an_older_copy_of_one(cluster: Cluster) -> None:
    """JetStream brings it up from the others: nothing is lost though that server leads, no epoch ends."""
    (kept,) = _channels_of_partition_0(1)
    async with client(cluster) as (ann, resets):
        await ann.create_channel("public", "kept", channel=kept)
        await cluster.copy()
        for number in range(5):
            await ann.send(kept, f"kept {number}")
        await eventually(lambda: all_saved(cluster.bus), within_s=PATIENCE_S, every_s=0.2)
        before = await cluster.epoch()
        old = await leader_of(cluster.bus, LOG, Deadline.after(PATIENCE_S))
        await cluster.restore([old])
        now = await leader_of(cluster.bus, LOG, Deadline.after(PATIENCE_S))
        if now != old:
            await move_leader(cluster.bus, Move(LOG, now, old), Deadline.after(PATIENCE_S))
        assert (await ann.send(kept, "more")).seq == 7
        assert (await cluster.checked()).clean
    assert await cluster.epoch() == before
    assert not resets


def _channels_of_partition_0(count: int) -> list[ChannelId]:
    names = (ChannelId(f"ch{number}") for number in range(100))
    key = WorkspaceId(WORKSPACE)
    return [name for name in names if partition_of(ChannelKey(key, name), PARTITIONS) == P0][:count]
