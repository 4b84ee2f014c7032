"""An export is read within bounds, whoever made the zip; what cannot be read is counted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from infra.slack.convert import convert
from infra.slack.export import FILE_BYTES_MAX, Export
from infra.slack.tally import Tally
from shared.errors import BadRequest
from tests.bench.report import ROOT

SAMPLE = ROOT.parent / "shared" / "data" / "slack-export-sample.zip"


def made(path: Path, files: dict[str, bytes | object]) -> Path:
    with zipfile.ZipFile(path / "export.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path / "export.zip"


def read(path: Path, file_bytes_max: int = FILE_BYTES_MAX) -> tuple[dict[str, list[object]], Tally]:
    tally = Tally()
    with Export(path, tally, file_bytes_max) as export:
        found = {c.folder: list[object](export.messages(c.folder)) for c in export.conversations()}
    return found, tally


def test_days_are_read_in_order(tmp_path: Path) -> None:
    """A folder's files are read by name, which is their day."""
    files = {
        "channels.json": [{"id": "C1", "name": "tea"}],
        "tea/2016-02-01.json": [{"ts": "2.0"}],
        "tea/2016-01-01.json": [{"ts": "1.0"}],
    }
    assert read(made(tmp_path, files)) == ({"tea": [{"ts": "1.0"}, {"ts": "2.0"}]}, Tally())


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x.json", "/etc/passwd.json", "tea/../../x.json", "a/b/c.json", "tea\\x.json"]
)
def test_names_that_lead_elsewhere_are_ignored(tmp_path: Path, name: str) -> None:
    """A name that is not <folder>/<day>.json is counted, never opened, never written anywhere."""
    found, tally = read(made(tmp_path, {"channels.json": [], name: [{"ts": "1.0"}]}))
    assert found == {}
    assert sum(tally.skipped.values()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{not json", "message file that cannot be read"),
        (b"\xff\xfe\x00", "message file that cannot be read"),
        (b"[" * 100_000, "message file that cannot be read"),
        (b'{"a": 1}', "message file that holds no list"),
        (b'"text"', "message file that holds no list"),
        (b"[1, null, [], {}]", "message record that is no object"),
    ],
)
def test_broken_files_are_counted(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is no list of objects is counted, and the next one is read."""
    files = {
        "channels.json": [{"id": "C1", "name": "tea"}],
        "tea/1.json": content,
        "tea/2.json": [{"ts": "1.0"}],
    }
    found, tally = read(made(tmp_path, files))
    assert {"ts": "1.0"} in found["tea"]
    assert reason in tally.skipped


def test_bomb_is_not_inflated(tmp_path: Path) -> None:
    """A file that inflates beyond the bound is counted; its size in the zip is not believed."""
    files = {"channels.json": [{"id": "C1", "name": "tea"}], "tea/1.json": b" " * 5_000_000}
    found, tally = read(made(tmp_path, files), file_bytes_max=10_000)
    assert found == {"tea": []}
    assert tally.skipped == {"message file that cannot be read": 1}


def test_one_lone_surrogate_does_not_cost_the_file(tmp_path: Path) -> None:
    """JSON may hold a lone surrogate: the file is read, and the text mended later (AT-80)."""
    found, _ = read(
        made(
            tmp_path, {"channels.json": [{"id": "C1", "name": "tea"}], "tea/1.json": b'[{"text": "\\ud800"}]'}
        )
    )
    assert found == {"tea": [{"text": "\ud800"}]}


def test_folder_without_a_channel_is_counted(tmp_path: Path) -> None:
    """Messages of a folder that no list names are not dropped in silence."""
    found, tally = read(made(tmp_path, {"channels.json": [], "ghost/1.json": [{"ts": "1.0"}]}))
    assert found == {}
    assert tally.skipped == {"file of a folder that no list of channels names": 1}


def test_truncated_member_is_counted(tmp_path: Path) -> None:
    """A damaged member is counted, and the others are read."""
    path = made(
        tmp_path,
        {"channels.json": [{"id": "C1", "name": "tea"}], "tea/1.json": [{"ts": str(n)} for n in range(999)]},
    )
    raw = bytearray(path.read_bytes())
    at = raw.index(b"tea/1.json") + 40
    raw[at : at + 20] = b"\xff" * 20
    path.write_bytes(raw)
    found, tally = read(path)
    assert found == {"tea": []}
    assert tally.skipped == {"message file that cannot be read": 1}


def test_no_zip_at_all(tmp_path: Path) -> None:
    """Something that is no zip is refused with a sentence, not a traceback."""
    (tmp_path / "x.zip").write_bytes(b"hello")
    with pytest.raises(BadRequest):
        Export(tmp_path / "x.zip", Tally())


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"needs {SAMPLE.name} in ../shared/data")
def test_genuine_export() -> None:
    """The sample: 158 records in two channels, all of them imported."""
    tally = Tally()
    with Export(SAMPLE, tally) as export:
        conversions = [convert(c, export.messages(c.folder), "acme", tally) for c in export.conversations()]
        assert len(export.users()) > 0
    kinds = [order.kind for conversion in conversions if conversion for order in conversion.orders]
    assert len(conversions) == 2
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"send": 150, "join": 8, "edit": 1, "react": 1}
    assert not tally.skipped
