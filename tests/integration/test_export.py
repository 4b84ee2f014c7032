"""An export of a running system is all that was acknowledged before it, and can be imported again."""

from __future__ import annotations

from pathlib import Path

import duckdb
import orjson
import pytest

from infra.cli.access import socket_url
from infra.export.run import Exported, Format, export
from infra.export.selection import Selection
from infra.slack.run import Imported, import_slack
from shared.bus import Bus
from shared.client import ChannelEvent, Client
from shared.errors import BadRequest, Conflict, NotFound, Unavailable
from shared.ids import ChannelId, UserId, workspace_id
from shared.settings import CommonSettings
from tests.infra.slack import hostile
from tests.support.folded import fold_workspace
from tests.support.peer import token
from tests.support.stack import PARTITIONS, Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
WAIT_S = 60.0
FORMATS: tuple[Format, ...] = ("jsonl", "parquet", "slack")


async def exported(
    stack: Stack,
    selection: Selection,
    form: Format,
    path: Path,
    *,
    force: bool = False,
    wait_s: float = WAIT_S,
) -> Exported:
    settings = CommonSettings(nats_url=stack.nats.url, partitions=int(PARTITIONS))
    archive = str(stack.folder / "archive")
    return await export(
        settings, archive, selection, form, path, force=force, wait_s=wait_s, progress=lambda *_: None
    )


async def imported(stack: Stack, path: Path, workspace: str) -> Imported:
    by = token("slack-importer", scope="import", workspace=workspace)
    async with Client(socket_url(stack.url), by) as client:
        return await import_slack(client, path, team=workspace, progress=lambda *_: None)


async def everything(stack: Stack, workspace: str, folder: Path) -> dict[Format, bytes]:
    """A workspace in each format."""
    folder.mkdir()
    for form in FORMATS:
        await exported(stack, Selection(workspace_id(workspace)), form, folder / form)
    return {form: (folder / form).read_bytes() for form in FORMATS}


async def test_an_import_twice_is_one_export(stack: Stack, tmp_path: Path) -> None:
    """After the second import of a hostile export every byte of every export is as before (AT-54)."""
    hostile.build(tmp_path / "hostile.zip")
    first = await imported(stack, tmp_path / "hostile.zip", "twice")
    before = await everything(stack, "twice", tmp_path / "before")
    second = await imported(stack, tmp_path / "hostile.zip", "twice")
    assert (second.new, second.duplicate) == ({}, first.new)
    assert await everything(stack, "twice", tmp_path / "after") == before


async def test_slack_there_and_back(stack: Stack, log_bus: Bus, tmp_path: Path) -> None:
    """Export, import into an empty workspace: the same texts, authors, threads, reactions and times, the same
    channels and members; and that workspace's export says the same again."""
    hostile.build(tmp_path / "hostile.zip")
    await imported(stack, tmp_path / "hostile.zip", "there")
    await talk(stack, "there", "CTALK")
    done = await exported(stack, Selection(workspace_id("there")), "slack", tmp_path / "there.zip")
    copied = await imported(stack, tmp_path / "there.zip", "back")
    tally = copied.tally
    assert (tally.records, tally.recorded, tally.balanced) == (done.records, done.records, True)
    assert not tally.altered + tally.omitted
    there = await fold_workspace(log_bus, "there", int(PARTITIONS))
    back = await fold_workspace(log_bus, "back", int(PARTITIONS))
    assert there.keys() == back.keys()
    assert len(there) == 8
    for name, channel in there.items():
        assert back[name].sayings() == channel.sayings(), name
        assert back[name].state.members.keys() == channel.state.members.keys()
        assert (back[name].state.kind, back[name].state.topic) == (channel.state.kind, channel.state.topic)
        assert len(back[name].state.pins) == len(channel.state.pins)
    await exported(stack, Selection(workspace_id("back")), "slack", tmp_path / "back.zip")
    again = await imported(stack, tmp_path / "back.zip", "third")
    assert again.tally.recorded == done.records


async def talk(stack: Stack, workspace: str, channel: str) -> int:
    """A channel with everything that people do; returns its head."""
    async with (
        Client(socket_url(stack.url), token("ada", workspace=workspace)) as ada,
        Client(socket_url(stack.url), token("bob", workspace=workspace)) as bob,
    ):
        await ada.command("create_channel", channel, kind="public", name="talk", topic="tea")
        await bob.join(channel)
        root = (await ada.send(channel, "root ☕")).seq
        for number in range(300):
            last = (await bob.send(channel, f"reply {number}", thread=root)).seq
        await bob.send(channel, "")
        await bob.send(channel, " \n ")
        gone = (await bob.send(channel, "to be deleted")).seq
        await bob.edit(channel, last, "edited")
        await ada.react(channel, last, "tada")
        await bob.react(channel, last, "tada")
        await bob.unreact(channel, last, "tada")
        await ada.delete(channel, gone)
        await ada.pin(channel, root)
        return (await bob.leave(channel)).seq


async def test_lines_are_what_clients_see(stack: Stack, tmp_path: Path) -> None:
    """Every event of the channel up to its head, once, deletions too (AT-52, AT-53), in Parquet as well."""
    head = await talk(stack, "w", "CLINES")
    selection = Selection(workspace_id("w"), (ChannelId("CLINES"),))
    assert await exported(stack, selection, "jsonl", tmp_path / "x") == Exported(1, head, head)
    heard: list[ChannelEvent] = []
    async with Client(
        socket_url(stack.url),
        token("ada"),
        start="beginning",
        on_update=lambda u: (
            heard.append(u) if isinstance(u, ChannelEvent) and u.channel == "CLINES" else None
        ),
    ):
        await eventually(lambda: len(heard) == head)
    lines = [orjson.loads(line) for line in (tmp_path / "x").read_bytes().splitlines()]
    assert lines == [event.frame for event in heard]
    assert "message.deleted" in {line["kind"] for line in lines}
    assert (await exported(stack, selection, "parquet", tmp_path / "y")).records == head
    count = f"SELECT count(*), max(seq), count(DISTINCT seq) FROM read_parquet('{tmp_path / 'y'}')"
    assert duckdb.sql(count).fetchall() == [(head, head, head)]


async def test_a_users_part(stack: Stack, tmp_path: Path) -> None:
    """Everything by the user and about his membership, in all channels; no words of others."""
    await talk(stack, "part", "CPART")
    selection = Selection(workspace_id("part"), user=UserId("bob"))
    done = await exported(stack, selection, "jsonl", tmp_path / "x")
    lines = [orjson.loads(line) for line in (tmp_path / "x").read_bytes().splitlines()]
    assert (len(lines), done.channels) == (done.records, 1)
    kinds = {line["kind"] for line in lines if line["author"] == "bob"}
    assert kinds == {
        "member.joined",
        "message.posted",
        "message.edited",
        "reaction.added",
        "reaction.removed",
    } | {"member.left"}
    assert {line["kind"] for line in lines if line["author"] != "bob"} == {"message.deleted"}


async def test_refusals(stack: Stack, tmp_path: Path) -> None:
    """A channel that nobody knows, a file that is there, a user in Slack's form, an archive that stands
    still: each is said, and no file is made."""
    await talk(stack, "w", "CREFUSED")
    known = Selection(workspace_id("w"), (ChannelId("CREFUSED"),))
    with pytest.raises(NotFound, match="CNOWHERE"):
        await exported(stack, Selection(workspace_id("w"), (ChannelId("CNOWHERE"),)), "jsonl", tmp_path / "x")
    with pytest.raises(BadRequest):
        await exported(stack, Selection(workspace_id("w"), user=UserId("bob")), "slack", tmp_path / "x")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(Conflict):
        await exported(stack, known, "jsonl", tmp_path / "there")
    await exported(stack, known, "jsonl", tmp_path / "replaced")
    await exported(stack, known, "jsonl", tmp_path / "replaced", force=True)
    stack.archiver.kill()
    try:
        await talk(stack, "w", "CLATE")
        with pytest.raises(Unavailable, match="archive"):
            await exported(stack, known, "jsonl", tmp_path / "x", wait_s=0.5)
    finally:
        await stack.archiver.start()
    assert {path.name for path in tmp_path.iterdir()} == {"there", "replaced"}
    assert (tmp_path / "there").read_text() == "mine"
