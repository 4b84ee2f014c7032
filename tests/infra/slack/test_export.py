"""Which channels an export holds and which records are whose, whatever its lists leave out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from infra.slack.convert import convert
from infra.slack.export import Conversation, Export, Record
from infra.slack.tally import Tally
from shared.clock import now_us
from tests.bench.report import ROOT

SAMPLE = ROOT.parent / "shared" / "data" / "slack-export-sample.zip"


def read(path: Path, files: dict[str, object]) -> tuple[list[tuple[Conversation, list[Record]]], Tally]:
    with zipfile.ZipFile(path / "export.zip", "w") as out:
        for name, content in files.items():
            out.writestr(name, json.dumps(content))
    tally = Tally()
    with Export(path / "export.zip", tally) as export:
        return list(export.conversations()), tally


def said(ts: str, text: str = "hi", **fields: object) -> dict[str, object]:
    return {"ts": ts, "user": "U1", "text": text} | fields


def test_each_list_has_its_kind(tmp_path: Path) -> None:
    """Public, private, several people, two people; a direct conversation's folder is its id."""
    channels, tally = read(
        tmp_path,
        {
            "channels.json": [{"id": "C1", "name": "tea"}],
            "groups.json": [{"id": "G1", "name": "board"}],
            "mpims.json": [{"id": "G2", "name": "mpdm-a--b-1"}],
            "dms.json": [{"id": "D1", "members": ["U1", "U2"]}],
            **{f"{folder}/1.json": [said("1.0")] for folder in ("tea", "board", "mpdm-a--b-1", "D1")},
        },
    )
    assert {(c.identity, c.kind, len(records)) for c, records in channels} == {
        ("C1", "public", 1),
        ("G1", "private", 1),
        ("G2", "private", 1),
        ("D1", "direct", 1),
    }
    assert tally == Tally(records=4)


def test_a_folder_that_no_list_names(tmp_path: Path) -> None:
    """It becomes a private channel of its authors, and that is counted: nobody learns what was not his."""
    ghost = [said("7.5", user="U2"), said("5.0"), [], said("6.0", user=None)]
    ((channel, records),), tally = read(tmp_path, {"channels.json": [], "ghost/1.json": ghost})
    assert (channel.kind, channel.identity, len(records)) == ("private", "folder/ghost", 3)
    assert channel.record["members"] == ["U2", "U1"]
    assert tally.altered.total() == 1
    assert (tally.records, tally.skipped) == (4, {"message record that is no object": 1})


def test_a_former_name_is_the_same_channel(tmp_path: Path) -> None:
    """Told by the record of the renaming, by a message that both hold, or by the list; old records first."""
    rename = said("3.0", subtype="channel_name", old_name="one", name="three")
    channels, tally = read(
        tmp_path,
        {
            "channels.json": [{"id": "C1", "name": "three", "previous_names": ["zero"]}],
            "three/1.json": [rename, said("2.0", "both")],
            "one/1.json": [said("1.0", "from one")],
            "two/1.json": [said("2.0", "both"), said("2.5", "from two")],
            "zero/1.json": [said("0.5", "from zero")],
            "other/1.json": [said("2.0", "hi", user="U2")],
        },
    )
    (channel, records), (other, _) = channels
    assert (channel.identity, other.identity) == ("C1", "folder/other")
    assert set(channel.folders) == {"three", "one", "two", "zero"}
    assert {r["text"] for r in records} == {"both", "from one", "from two", "from zero", "hi"}
    assert tally.altered["folder of a channel's former name: imported with the channel"] == 2


def test_one_id_in_two_lists(tmp_path: Path) -> None:
    """One channel, with both names' folders, as private as the more private list says."""
    channels, tally = read(
        tmp_path,
        {
            "channels.json": [{"id": "C1", "name": "old", "members": ["U2"]}, {"id": "C1", "name": "new"}],
            "groups.json": [{"id": "C1", "name": "new", "members": ["U1"]}],
            "old/1.json": [said("1.0")],
            "new/1.json": [said("2.0")],
        },
    )
    ((channel, records),) = channels
    assert (channel.kind, channel.record["members"]) == ("private", ["U1", "U2"])
    assert len(records) == 2
    assert tally.altered.total() == 2


def test_two_channels_of_one_name(tmp_path: Path) -> None:
    """The folder goes to the more private one: its messages are never in the other."""
    channels, tally = read(
        tmp_path,
        {
            "channels.json": [{"id": "C1", "name": "plans"}],
            "groups.json": [{"id": "G1", "name": "plans"}],
            "plans/1.json": [said("1.0")],
        },
    )
    assert [(c.identity, len(records)) for c, records in channels] == [("G1", 1), ("C1", 0)]
    assert tally.altered == {"channel whose folder another, as private or more, has: no records": 1}


@pytest.mark.parametrize(
    "entry", [None, 7, "x", [], {}, {"id": "a.*"}, {"id": ["C1"], "name": 7}, {"name": ""}]
)
def test_entries_of_lists_that_are_none(tmp_path: Path, entry: object) -> None:
    """Counted; the channels after them are read."""
    files: dict[str, object] = {
        "channels.json": [entry, {"id": "C1", "name": "tea"}],
        "groups.json": {"a": 1},
    }
    channels, tally = read(tmp_path, files)
    assert [c.identity for c, _ in channels] == ["C1"]
    assert tally.omitted.total() == 2


def test_a_channel_without_a_usable_id_keeps_its_name(tmp_path: Path) -> None:
    """It is found by it, in its folder."""
    listed = [{"name": "tea"}, {"id": "p_0", "name": "milk"}]
    channels, tally = read(tmp_path, {"channels.json": listed, "tea/1.json": [said("1.0")]})
    assert [(c.kind, c.identity, len(r)) for c, r in channels] == [
        ("public", "name/tea", 1),
        ("public", "name/milk", 0),
    ]
    assert tally.altered == {"channel without a usable id: one made from its name": 2}


def test_a_conversation_of_many(tmp_path: Path) -> None:
    """More people than a direct channel holds: a private one, with all of them."""
    members = [f"U{n}" for n in range(21)]
    ((channel, _),), _ = read(tmp_path, {"dms.json": [{"id": "D1", "members": members}]})
    assert (channel.kind, channel.record["members"]) == ("private", members)


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"needs {SAMPLE.name} in ../shared/data")
def test_genuine_export() -> None:
    """The sample: 158 records in two channels, all of them imported."""
    tally = Tally()
    with Export(SAMPLE, tally) as export:
        conversions = [convert(c, records, "acme", tally, now_us()) for c, records in export.conversations()]
    kinds = [order.kind for conversion in conversions for order in conversion.orders]
    assert len(conversions) == 2
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"send": 150, "join": 8, "edit": 1, "react": 1}
    assert sum(order.counts for conversion in conversions for order in conversion.orders) == 158
    assert tally.altered == {"file of a message: its contents are not imported": 4}
    assert tally == Tally(records=158, altered=tally.altered)
