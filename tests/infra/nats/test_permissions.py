"""What each NATS user may do, asked of a real server with the generated configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from infra.local.credentials import Credentials, load_or_create
from infra.nats.config import NatsNode, server_config, write_config
from infra.nats.permissions import ARCHIVER, EDGE, OPERATOR, READER, SEQUENCER, USERS
from shared.bus import Bus
from shared.errors import Unavailable
from shared.ids import ChannelId, ChannelKey, StreamSeq, WorkspaceId
from shared.log_epochs import begin_epoch, judge, label, proven
from shared.puller import Follower
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import EPHEMERAL, LEADER_ELECTED, channel_subject, inbox_prefix, partition_of
from tests.support.container import server_for_tests
from tests.support.nats import NatsServer
from tests.support.ports import own_port
from tests.support.waiting import eventually

PARTITIONS = 2
KEY = ChannelKey(WorkspaceId("demo"), ChannelId("general"))
PARTITION = partition_of(KEY, PARTITIONS)


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """The secrets of one installation."""
    return load_or_create(tmp_path_factory.mktemp("data") / "credentials.json")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[NatsServer]:
    """A server with the generated configuration and all streams."""
    directory = tmp_path_factory.mktemp("guarded")
    server = _server(directory, credentials)
    server.start()
    asyncio.run(_create_streams(server, credentials))
    yield server
    server.kill()


def _server(directory: Path, credentials: Credentials) -> NatsServer:
    node = NatsNode("nats-1", own_port(), own_port(), directory / "store")
    config = server_config(
        node,
        passwords=credentials.nats,
        route_password=credentials.cluster,
        partitions=PARTITIONS,
        durability="process",
    )
    write_config(directory / "nats.conf", config)
    return server_for_tests(directory, config=directory / "nats.conf", port=node.port)


def _settings(server: NatsServer, credentials: Credentials, user: str) -> CommonSettings:
    return CommonSettings(
        nats_url=server.url, nats_user=user, nats_password=credentials.nats[user], partitions=PARTITIONS
    )


async def _create_streams(server: NatsServer, credentials: Credentials) -> None:
    settings = _settings(server, credentials, OPERATOR)
    async with Bus.connect(settings, "operator") as bus:
        await ensure_streams(bus, settings)


@asynccontextmanager
async def _as(server: NatsServer, credentials: Credentials, user: str) -> AsyncIterator[Bus]:
    async with Bus.connect(_settings(server, credentials, user), user) as bus:
        yield bus


@asynccontextmanager
async def _raw(
    server: NatsServer, credentials: Credentials, user: str
) -> AsyncIterator[tuple[Client, list[str]]]:
    """A plain client, and the list in which the server's complaints arrive."""
    complaints: list[str] = []

    async def on_error(error: Exception) -> None:
        complaints.append(str(error).lower())

    client = await nats.connect(
        server.url,
        user=user,
        password=credentials.nats[user],
        error_cb=on_error,
        inbox_prefix=inbox_prefix(user),
    )
    yield client, complaints
    await client.close()


PUBLISH_REFUSED = [
    (EDGE, "$KV.CHECKPOINTS.0.demo.general"),
    (EDGE, "$KV.DIRECTORY.demo.ada.general"),
    (EDGE, "live.0.demo.general"),
    (EDGE, "heads.0"),
    (EDGE, "user.demo.ada.session"),
    (EDGE, "$JS.API.STREAM.DELETE.LOG_0"),
    (EDGE, "$JS.API.STREAM.PURGE.LOG_0"),
    (EDGE, "$JS.API.STREAM.UPDATE.LOG_0"),
    (EDGE, "$JS.API.STREAM.CREATE.LOG_0"),
    (EDGE, "$JS.API.STREAM.MSG.DELETE.LOG_0"),
    (EDGE, "$JS.API.CONSUMER.CREATE.LOG_0.spy"),
    (EDGE, "_INBOX_archiver.x.1"),
    (EDGE, "channel.0.demo.general.more"),
    (SEQUENCER, "channel.0.demo.general"),
    (SEQUENCER, "live.0.demo.general"),
    (SEQUENCER, "archive.0.history"),
    (SEQUENCER, "$KV.READS.demo.ada.general"),
    (SEQUENCER, "$JS.API.STREAM.DELETE.KV_CHECKPOINTS"),
    (SEQUENCER, "$JS.API.STREAM.CREATE.SPY"),
    (SEQUENCER, "$JS.API.CONSUMER.CREATE.KV_READS.spy"),
    (ARCHIVER, "live.0.demo.general"),
    (ARCHIVER, "$KV.DIRECTORY.demo.ada.general"),
    (ARCHIVER, "$JS.API.STREAM.PURGE.KV_CHECKPOINTS"),
    (ARCHIVER, "_INBOX_edge.x.1"),
    (READER, "channel.0.demo.general"),
    (READER, "$KV.DIRECTORY.demo.ada.general"),
    (READER, "$JS.API.STREAM.PURGE.LOG_0"),
    (READER, "_INBOX_archiver.x.1"),
    (OPERATOR, "channel.0.demo.general"),
    (OPERATOR, "live.0.demo.general"),
    (OPERATOR, "heads.0"),
    (OPERATOR, "$KV.CHECKPOINTS.0.demo.general"),
]


@pytest.mark.parametrize(("user", "subject"), PUBLISH_REFUSED)
async def test_publish_is_refused(
    guarded: NatsServer, credentials: Credentials, user: str, subject: str
) -> None:
    """The server refuses what this user has no business saying."""
    async with _raw(guarded, credentials, user) as (client, complaints):
        await client.publish(subject, b"{}")
        await eventually(lambda: complaints)
    assert "permissions violation for publish" in complaints[0]


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        (EDGE, ">"),
        (EDGE, "_INBOX_archiver.>"),
        (EDGE, "_INBOX.>"),
        (EDGE, "archive.0.history"),
        (SEQUENCER, "user.>"),
        (SEQUENCER, "live.>"),
        (ARCHIVER, "channel.>"),
        (ARCHIVER, "user.>"),
        (READER, "channel.>"),
        (READER, "_INBOX_archiver.>"),
    ],
)
async def test_subscribe_is_refused(
    guarded: NatsServer, credentials: Credentials, user: str, subject: str
) -> None:
    """The server refuses what this user has no business hearing, other users' answers above all."""
    async with _raw(guarded, credentials, user) as (client, complaints):
        await client.subscribe(subject)
        await eventually(lambda: complaints)
    assert "permissions violation for subscription" in complaints[0]


async def test_strangers_are_refused(guarded: NatsServer, credentials: Credentials) -> None:
    """Without a user, or with a wrong password, nobody gets in."""
    for options in ({}, {"user": EDGE, "password": credentials.nats[OPERATOR]}):
        with pytest.raises((nats.errors.Error, OSError)):
            await nats.connect(guarded.url, allow_reconnect=False, **options)


async def test_edge_can_do_its_work(guarded: NatsServer, credentials: Credentials) -> None:
    """Publish an event, hear it live, read the log and the buckets, write a read marker."""
    heard = asyncio.Event()
    async with _as(guarded, credentials, EDGE) as edge:
        await edge.subscribe(f"live.{PARTITION}.demo.general", lambda _: heard.set())
        for subject in (
            f"heads.{PARTITION}",
            "user.demo.ada.*",
            EPHEMERAL,
            LEADER_ELECTED,
        ):
            await edge.subscribe(subject, lambda _: None)
        subject = channel_subject(PARTITION, KEY)
        ack = await edge.commit(subject, b"{}", msg_id="edge-1", expect_last=None)
        async with asyncio.timeout(30):
            await heard.wait()
        stream = f"LOG_{PARTITION}"
        assert await edge.direct_batch(stream, subject, start=ack.stream_seq)
        assert await edge.direct_last(stream, [subject])
        assert await edge.stored(stream, ack.stream_seq)
        assert await edge.stored(stream, StreamSeq(ack.stream_seq + 1000)) is None
        assert await edge.last("KV_DIRECTORY", "$KV.DIRECTORY.demo.ada.general") is None
        await edge.commit("$KV.READS.demo.ada.general", b"{}", expect_last=StreamSeq(0))
        await ensure_streams(edge, _settings(guarded, credentials, EDGE))


async def test_sequencer_can_do_its_work(guarded: NatsServer, credentials: Credentials) -> None:
    """Follow a log, write checkpoints and directory, broadcast heads, restore a deleted bucket."""
    subject = channel_subject(PARTITION, KEY)
    async with _as(guarded, credentials, EDGE) as edge:
        await edge.commit(subject, b"{}", msg_id="sequencer-1")
    async with _as(guarded, credentials, OPERATOR) as operator:
        await operator.api("STREAM.DELETE.KV_CHECKPOINTS", {})
    async with _as(guarded, credentials, SEQUENCER) as sequencer:
        await ensure_streams(sequencer, _settings(guarded, credentials, SEQUENCER))
        async with asyncio.timeout(30), Follower(sequencer, f"LOG_{PARTITION}", StreamSeq(1)) as follower:
            assert await anext(follower)
        await sequencer.commit("$KV.CHECKPOINTS.0.position", b"{}", expect_last=StreamSeq(0))
        await sequencer.commit("$KV.DIRECTORY.demo.ada.general", b"{}", expect_last=StreamSeq(0))
        await sequencer.publish(f"heads.{PARTITION}", b"{}")
        await sequencer.publish("user.demo.ada.membership", b"{}")
        verdict = await judge(sequencer, PARTITION)
        epoch = await begin_epoch(sequencer, verdict)  # a log that was restored
        await label(sequencer, verdict.log, epoch, (verdict.epoch,))
        await sequencer.api("STREAM.DELETE.KV_DIRECTORY", {})
        await ensure_streams(sequencer, _settings(guarded, credentials, SEQUENCER))
    async with _as(guarded, credentials, OPERATOR) as operator:
        assert await begin_epoch(operator, await judge(operator, PARTITION)) != epoch
    async with _as(guarded, credentials, ARCHIVER) as archiver:
        assert (await proven(archiver, PARTITION)).replaced == (verdict.epoch, epoch)
    async with _as(guarded, credentials, EDGE) as edge:
        assert (await proven(edge, PARTITION)).replaced == (verdict.epoch, epoch)


@pytest.mark.parametrize("service", [ARCHIVER, READER])
async def test_archiver_can_do_its_work(guarded: NatsServer, credentials: Credentials, service: str) -> None:
    """Follow a log and answer requests of edges, of the sequencer and of the operator."""

    async def history(body: bytes) -> bytes:
        return body.upper()

    async with _as(guarded, credentials, EDGE) as edge, _as(guarded, credentials, service) as archiver:
        await edge.commit(channel_subject(PARTITION, KEY), b"{}", msg_id=f"{service}-1")
        async with asyncio.timeout(30), Follower(archiver, f"LOG_{PARTITION}", StreamSeq(1)) as follower:
            assert await anext(follower)
        if service == ARCHIVER:  # it says what has expired
            await archiver.commit(channel_subject(PARTITION, KEY), b"{}", msg_id="archiver-2")
        await archiver.serve("archive.*.history", history, queue="archiver")
        await archiver.api(f"STREAM.INFO.LOG_{PARTITION}", {})  # behind it: the server knows who serves
        assert await edge.request("archive.0.history", b"page", timeout_s=30) == b"PAGE"
        await archiver.serve("archive.*.heads", history, queue="archiver")
        await archiver.api(f"STREAM.INFO.LOG_{PARTITION}", {})
        for user, subject in ((OPERATOR, "archive.0.history"), (SEQUENCER, "archive.0.heads")):
            async with _as(guarded, credentials, user) as asking:
                assert await asking.request(subject, b"page", timeout_s=30) == b"PAGE"


async def test_large_messages_are_refused(guarded: NatsServer, credentials: Credentials) -> None:
    """`max_payload` holds on the wire."""
    async with _raw(guarded, credentials, EDGE) as (client, _):
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish("channel.0.demo.general", b"x" * (1024 * 1024 + 1))


async def test_strict_refuses_unknown_fields(guarded: NatsServer, credentials: Credentials) -> None:
    """A misspelt field of the JetStream API is an error, not ignored."""
    async with _as(guarded, credentials, OPERATOR) as operator:
        with pytest.raises(Exception, match="invalid JSON"):
            await operator.api("STREAM.CREATE.X", {"name": "X", "subjects": ["x"], "no_such_field": 1})


async def test_operator_reads_everything_but_cannot_post(
    guarded: NatsServer, credentials: Credentials
) -> None:
    """The operator's commit gets no answer: even who may delete a stream cannot put words into it."""
    async with _as(guarded, credentials, OPERATOR) as operator:
        names = (await operator.api("STREAM.NAMES", {}))["streams"]
        assert isinstance(names, list)
        assert {"LOG_0", "LOG_1", "KV_DIRECTORY"} <= set(names)
        with pytest.raises(Unavailable):
            await operator.request("channel.0.demo.general", b"{}", timeout_s=0.3)


def test_every_service_has_a_user() -> None:
    """One user per service, and the operator."""
    assert set(USERS) == {"edge", "sequencer", "archiver", "reader", "operator"}
