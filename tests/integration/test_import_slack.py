"""An export goes through the front door: twice is once, and nothing ends the run."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from infra.cli.access import socket_url
from infra.slack.run import Imported, import_slack
from shared.client import ChannelEvent, Client
from tests.bench.report import ROOT
from tests.support.peer import token
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
SAMPLE = ROOT.parent / "shared" / "data" / "slack-export-sample.zip"


async def imported(stack: Stack, path: Path) -> Imported:
    async with Client(socket_url(stack.url), token("slack-importer", scope="import")) as client:
        return await import_slack(client, path, team="w", progress=lambda *_: None)


def export(path: Path, channel: str, records: list[dict[str, object]]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        channels = [
            {"id": channel, "name": "tea", "created": "1452837318", "creator": "U1", "members": ["U1", "U2"]}
        ]
        out.writestr("channels.json", json.dumps(channels))
        out.writestr("tea/2016-01-15.json", json.dumps(records))
    return path


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"needs {SAMPLE.name} in ../shared/data")
async def test_genuine_export_twice(stack: Stack) -> None:
    """The sample: all of it is recorded, and the second run records nothing (AT-54)."""
    first = await imported(stack, SAMPLE)
    second = await imported(stack, SAMPLE)
    assert first.new == {"create_channel": 2, "join": 8, "send": 150, "edit": 1, "react": 1}
    assert not second.new
    assert second.duplicate == first.new
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
    assert done.tally.skipped == {
        "send refused by the server: forbidden": 1,
        "react of a message that is not imported": 1,
    }
