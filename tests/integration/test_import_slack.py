"""An export goes through the front door: twice is once, and nothing ends the run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.cli.access import socket_url
from infra.slack.run import Imported, import_slack
from shared.bus import Bus
from shared.client import ChannelEvent, Client
from tests.bench.report import ROOT
from tests.infra.slack import hostile
from tests.support.archive import read_logs
from tests.support.folded import DELETED, Folded, fold_channel, fold_workspace
from tests.support.peer import token
from tests.support.stack import PARTITIONS, Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
SAMPLE = ROOT.parent / "shared" / "data" / "slack-export-sample.zip"


async def imported(stack: Stack, path: Path) -> Imported:
    async with Client(socket_url(stack.url), token("slack-importer", scope="import")) as client:
        return await import_slack(client, path, team="w", progress=lambda *_: None)


def export(path: Path, channel: str, records: list[dict[str, object]], name: str = "tea") -> Path:
    with zipfile.ZipFile(path, "w") as out:
        channels = [
            {"id": channel, "name": name, "created": "1452837318", "creator": "U1", "members": ["U1", "U2"]}
        ]
        out.writestr("channels.json", json.dumps(channels))
        out.writestr(f"{name}/2016-01-15.json", json.dumps(records))
    return path


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"needs {SAMPLE.name} in ../shared/data")
async def test_genuine_export_twice(stack: Stack) -> None:
    """The sample: all of it is recorded, and the second run records nothing (AT-54)."""
    first = await imported(stack, SAMPLE)
    second = await imported(stack, SAMPLE)
    assert first.new == {"create_channel": 2, "join": 8, "send": 150, "edit": 1, "react": 1}
    assert not second.new
    assert second.duplicate == first.new
    assert first.tally.recorded == second.tally.recorded == first.tally.records == 158
    assert not second.tally.skipped


async def test_threads_edits_and_reactions_point_at_their_message(stack: Stack, tmp_path: Path) -> None:
    """`ts` becomes seq: reply, edit and reaction name the number of the message that they are about."""
    records: list[dict[str, object]] = [
        {
            "type": "message",
            "user": "U1",
            "ts": "1452840000.000001",
            "text": "root",
            "thread_ts": "1452840000.000001",
        },
        {
            "type": "message",
            "user": "U2",
            "ts": "1452840001.000001",
            "text": "reply",
            "thread_ts": "1452840000.000001",
        },
        {
            "type": "message",
            "user": "U2",
            "ts": "1452840002.000001",
            "text": "best",
            "edited": {"user": "U2", "ts": "1452840003.000001"},
            "reactions": [{"name": "tada", "users": ["U1"], "count": 1}],
        },
    ]
    path = export(tmp_path / "x.zip", "CTHREADS", records)
    done = await imported(stack, path)
    assert not done.tally.skipped
    assert not (await imported(stack, path)).new
    heard: list[ChannelEvent] = []
    async with Client(
        socket_url(stack.url),
        token("U2"),
        start="beginning",
        on_update=lambda u: (
            heard.append(u) if isinstance(u, ChannelEvent) and u.channel == "CTHREADS" else None
        ),
    ):
        await eventually(lambda: len(heard) == 7)
    by_text = {e.text: e for e in heard if e.kind == "message.posted"}
    assert by_text["reply"].frame.get("thread") == by_text["root"].seq
    rest = {e.kind: e.frame.get("ref") for e in heard if e.kind in {"message.edited", "reaction.added"}}
    assert rest == {"message.edited": by_text["best"].seq, "reaction.added": by_text["best"].seq}
    assert by_text["root"].frame["imported"] == {"by": "slack-importer", "at": "2016-01-15T06:40:00.000Z"}
    assert by_text["root"].author == "U1"


async def test_a_later_export_adds_what_is_new(stack: Stack, log_bus: Bus, tmp_path: Path) -> None:
    """Edits, replies and reactions since find the message that the first export brought; nothing is doubled,
    and a new name does not keep the channel out."""
    at = "1452840000.000001"
    early: dict[str, object] = {"type": "message", "user": "U1", "ts": at, "text": "helo", "thread_ts": at}
    await imported(stack, export(tmp_path / "early.zip", "CLATER", [early]))
    late = early | {"text": "hello", "edited": {"user": "U1", "ts": "1452840009.000001"}}
    late |= {"reactions": [{"name": "tada", "users": ["U2"], "count": 1}]}
    reply = early | {"user": "U2", "ts": "1452840005.000001", "text": "hi"}
    path = export(tmp_path / "late.zip", "CLATER", [late, reply], name="later")
    done = await imported(stack, path)
    assert done.new == {"edit": 1, "react": 1, "send": 1}
    assert done.tally.altered.total() == 2
    assert (done.tally.balanced, done.tally.recorded) == (True, 2)
    assert not (await imported(stack, path)).new
    logged = await read_logs(log_bus, int(PARTITIONS))
    (channel,) = [fold_channel(found) for key, found in logged.events.items() if key.channel == "CLATER"]
    assert channel.said("hello").reactions == {("U2", "tada")}
    assert channel.said("hi").thread == channel.number("hello")
    assert len(channel.messages) == 2


async def test_a_later_export_finds_its_private_channel(stack: Stack, log_bus: Bus, tmp_path: Path) -> None:
    """Renamed since: its id comes from its creation, so it goes on, under the name that it has."""
    for number, name in enumerate(("plans", "secret plans")):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as out:
            out.writestr("groups.json", json.dumps([{"id": "GLATER", "name": name, "creator": "U1"}]))
            said = {"type": "message", "user": "U1", "ts": f"145284000{number}.5", "text": name}
            out.writestr(f"{name}/1.json", json.dumps([said]))
        done = await imported(stack, tmp_path / f"{number}.zip")
        assert done.new["send"] == 1
    channel = (await fold_workspace(log_bus, "w", int(PARTITIONS)))["plans"]
    assert [message.text for message in channel.messages.values()] == ["plans", "secret plans"]


async def test_what_the_server_refuses_is_counted(stack: Stack, tmp_path: Path) -> None:
    """Messages after the channel was archived are refused there; the run goes on and says so (AT-55)."""
    records: list[dict[str, object]] = [
        {"type": "message", "user": "U1", "ts": "1452840000.1", "subtype": "channel_archive", "text": "bye"},
        {
            "type": "message",
            "user": "U1",
            "ts": "1452840001.1",
            "text": "still here",
            "reactions": [{"name": "x", "users": ["U1"], "count": 1}],
        },
    ]
    done = await imported(stack, export(tmp_path / "x.zip", "CCLOSED", records))
    assert done.new == {"create_channel": 1, "invite": 1, "update_channel": 1}
    assert done.tally.skipped == {"send refused by the server: forbidden": 1}
    assert done.tally.omitted == {"react of a message that is not imported": 1}
    assert done.tally.balanced


async def test_a_hostile_export(stack: Stack, log_bus: Bus, tmp_path: Path) -> None:
    """Every trap at once: each record is accounted for, what people said is there, who may read it has not
    changed; the second run, as a command, changes not a byte of the log (AT-54, AT-55, AT-80)."""
    path = tmp_path / "hostile.zip"
    records = hostile.build(path)
    done = await imported(stack, path)
    tally = done.tally
    assert (tally.records, tally.balanced) == (records, True), tally
    assert done.channels == 7
    assert tally.skipped["send refused by the server: clock_skew"] == 1
    assert tally.merged == {"copy of a message that its channel has already": 5}
    channels = await fold_workspace(log_bus, "w", int(PARTITIONS))
    general, board, ghost = (channels[name] for name in ("general", "board", "ghost"))
    _check_general(general)
    assert general.state.kind == "public"
    assert (board.state.kind, set(board.state.members)) == ("private", {"U1", "U2"})
    assert (ghost.state.kind, set(ghost.state.members)) == ("private", {"U5"})
    before = await read_logs(log_bus, int(PARTITIONS))
    again = await asyncio.to_thread(run_again, stack, path)
    assert "nothing new" in again
    assert f"{records:,} records in the export: {tally.recorded:,} recorded, 5 copies" in again
    assert (await read_logs(log_bus, int(PARTITIONS))).bodies == before.bodies


def run_again(stack: Stack, path: Path) -> str:
    """What `parley import slack` says."""
    access = "--url", stack.url, "--token", token("slack-importer", scope="import"), "--workspace", "w"
    command = [sys.executable, "-c", "from infra.cli import main; main()", "import", "slack", str(path)]
    return subprocess.run([*command, *access], check=True, capture_output=True, text=True).stdout


def _check_general(general: Folded) -> None:
    root = general.number("root")
    assert {general.said(text).thread for text in ("reply", "to all")} == {root}
    assert general.said("second orphan").thread == general.number("first orphan")
    tombstone = general.said("answer to a tombstone").thread
    assert tombstone is not None
    assert general.messages[tombstone].text == DELETED
    assert all(message.text != "deleted since" for message in general.messages.values())
    authors = {
        "by nobody whom users.json knows": "UGONE",
        "beep": "USLACKBOT",
        "build": "B1",
        "passed": "hook",
    }
    assert {text: general.said(text).author for text in authors} == authors
    assert general.said("[file hidden by the limit of Slack's plan]").author == "U1"
    assert general.said("nul \ufffd and half of a pair ?").author == "U1"
    assert general.said("mended twice").edits == ["2016-01-15T06:56:40.000Z", "2016-01-15T07:13:20.000Z"]
    assert general.said("liked").reactions == {("U2", "tada"), ("U3", "tada"), ("UGONE", "tada")}
    assert general.said("only here").at == "2016-01-15T06:40:30.000Z"
    assert general.said("in a second file of that name").author == "U1"
    assert general.state.pins == (root,)
    assert general.state.name == "general"
    assert set(general.state.members) == {"U1", "U2"}
    assert max(len(message.text.encode()) for message in general.messages.values()) <= 16_384
