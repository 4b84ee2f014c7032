"""The zip of an export is read within bounds, whoever made it; what cannot be read is counted."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import pytest

from infra.slack.package import Limits, Package
from infra.slack.tally import Tally
from shared.errors import BadRequest


def made(path: Path, files: dict[str, object], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path / "export.zip", "w", method) as out:
        for name, content in files.items():
            out.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path / "export.zip"


def read(path: Path, **limits: int) -> tuple[dict[str, list[object]], Tally]:
    tally = Tally()
    with Package(path, tally, Limits(**limits)) as package:
        return {folder: list(package.entries(folder)) for folder in package.folders}, tally


def test_days_are_read_in_order(tmp_path: Path) -> None:
    """A folder's files are read by name, which is their day."""
    files: dict[str, object] = {
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
    assert tally.omitted == {"file with a name that is not <folder>/<day>.json": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{not json", "message file that cannot be read"),
        (b"\xff\xfe\x00", "message file that cannot be read"),
        (b"[" * 100_000, "message file that cannot be read"),
        (b"", "message file that cannot be read"),
        (b'{"a": 1}', "message file that holds no list"),
        (b'"text"', "message file that holds no list"),
    ],
)
def test_broken_files_are_counted(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is no list is counted, and the next one is read."""
    found, tally = read(made(tmp_path, {"tea/1.json": content, "tea/2.json": [{"ts": "1.0"}]}))
    assert found == {"tea": [{"ts": "1.0"}]}
    assert tally.omitted == {reason: 1}


@pytest.mark.parametrize(
    "limits", [{"file_bytes": 10_000}, {"file_objects": 10_000}, {"ratio": 0, "file_bytes": 5_000}]
)
def test_bombs_are_not_inflated(tmp_path: Path, limits: dict[str, int]) -> None:
    """Neither in bytes nor in objects; what the zip's directory says of sizes is not believed."""
    path = made(tmp_path, {"tea/1.json": b"[" + b"{}," * 2_000_000 + b"{}]", "tea/2.json": [{"ts": "1.0"}]})
    path.write_bytes(path.read_bytes().replace((6_000_004).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    found, tally = read(path, **limits)
    assert len(found["tea"]) <= 1
    assert tally.omitted.total() >= 1


def test_all_files_together_have_a_bound(tmp_path: Path) -> None:
    """Many files that are allowed each; and the same of one folder, without harm to the next."""
    body: list[object] = [{"ts": "1.0", "text": "x" * 1_000}]
    path = made(tmp_path, {f"{folder}/{n}.json": body for folder in "ab" for n in range(9)})
    found, tally = read(path, total_bytes=5_000)
    assert sum(map(len, found.values())) == 4
    assert tally.omitted == {
        "file beyond the limit of inflated bytes": 13,
        "message file that cannot be read": 1,
    }
    found, tally = read(path, folder_bytes=5_000)
    assert {folder: len(records) for folder, records in found.items()} == {"a": 5, "b": 5}
    assert tally.omitted == {"file beyond the limit of inflated bytes": 8}


def test_too_many_files_are_counted(tmp_path: Path) -> None:
    """The first ones are read."""
    found, tally = read(made(tmp_path, {f"tea/{n}.json": [{}] for n in range(9)}), files=5)
    assert len(found["tea"]) == 5
    assert tally.omitted == {"file beyond the limit of files": 4}


def test_numbers_of_any_size(tmp_path: Path) -> None:
    """A number with thousands of digits costs itself, not its file; a fraction keeps every digit."""
    found, _ = read(made(tmp_path, {"tea/1.json": b'[{"ts": 1452837352.000006, "a": %s}]' % (b"9" * 9_999)}))
    assert found == {"tea": [{"ts": "1452837352.000006", "a": None}]}


def test_one_lone_surrogate_does_not_cost_the_file(tmp_path: Path) -> None:
    """JSON may hold a lone surrogate: the file is read, and the text mended later (AT-80)."""
    found, _ = read(made(tmp_path, {"tea/1.json": b'[{"text": "\\ud800"}]'}))
    assert found == {"tea": [{"text": "\ud800"}]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    """What JSON allows is read; bytes that are none of it are replaced, and that is counted."""
    found, tally = read(made(tmp_path, {"tea/1.json": '[{"text": "café"}]'.encode(encoding)}))
    wrong = encoding == "latin-1"
    assert found == {"tea": [{"text": "caf�" if wrong else "café"}]}
    assert tally.altered.total() == wrong


def test_damaged_members_are_counted(tmp_path: Path) -> None:
    """A member whose bytes are damaged, or packed as no export is, does not keep others from being read."""
    path = made(tmp_path, {"tea/1.json": [{"ts": str(n)} for n in range(999)], "tea/2.json": [{}]})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"tea/1.json") + 40
    raw[at : at + 20] = b"\xff" * 20
    path.write_bytes(raw)
    assert read(path) == ({"tea": [{}]}, Tally(omitted=read(path)[1].omitted))
    assert read(path)[1].omitted == {"message file that cannot be read": 1}
    found, tally = read(made(tmp_path, {"tea/1.json": [{}]}, zipfile.ZIP_LZMA))
    assert (found, tally.omitted) == ({"tea": []}, {"message file that cannot be read": 1})


def test_entries_with_one_name(tmp_path: Path) -> None:
    """Of a list the last one counts, as for every tool; days are read all."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says that the names are there already
        for number in (1, 2):
            out.writestr("channels.json", json.dumps([number]))
            out.writestr("tea/1.json", json.dumps([number]))
    tally = Tally()
    with Package(tmp_path / "x.zip", tally) as package:
        assert package.listed("channels.json") == [2]
        assert list(package.entries("tea")) == [1, 2]
    assert tally.omitted == {"list that the zip holds twice: the last one counts": 1}


def test_names_without_the_flag_of_utf8(tmp_path: Path) -> None:
    """Tools that write UTF-8 without saying so, and macOS, which takes letters apart, mean the same name."""
    path = made(tmp_path, {"été/1.json": [{}], "e\u0301te\u0301/2.json": [{}]})
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00"))
    assert list(read(path)[0]) == ["été"]


def test_a_name_that_lies_about_utf8(tmp_path: Path) -> None:
    """Python cannot open such a zip: it is refused with a sentence."""
    path = made(tmp_path, {"é/1.json": [{}]})
    path.write_bytes(path.read_bytes().replace("é/1".encode(), b"\xff\xfe/1"))
    with pytest.raises(BadRequest, match="UTF-8"):
        Package(path, Tally())


def test_an_export_packed_with_its_folder(tmp_path: Path) -> None:
    """Unpacked by somebody and packed again: one folder around everything."""
    path = made(
        tmp_path,
        {
            "My export/users.json": [],
            "My export/channels.json": [{"id": "C1"}],
            "My export/tea/1.json": [{}],
            "__MACOSX/My export/tea/._1.json": b"",
        },
    )
    tally = Tally()
    with Package(path, tally) as package:
        assert package.listed("channels.json") == [{"id": "C1"}]
        assert package.folders == ["tea"]
    assert tally.omitted == {"file with a name that is not <folder>/<day>.json": 1}


def test_glancing_counts_nothing(tmp_path: Path) -> None:
    """A folder that is looked into and read later is counted once."""
    tally = Tally()
    with Package(made(tmp_path, {"tea/1.json": b"{", "tea/2.json": [{}]}), tally) as package:
        assert package.glance("tea") == [{}]
        assert not tally.omitted
        assert list(package.entries("tea")) == [{}]
    assert tally.omitted.total() == 1


def test_no_zip_at_all(tmp_path: Path) -> None:
    """Something that is no zip is refused with a sentence, not a traceback."""
    (tmp_path / "x.zip").write_bytes(b"hello")
    with pytest.raises(BadRequest):
        Package(tmp_path / "x.zip", Tally())
    with pytest.raises(BadRequest):
        Package(tmp_path / "nothing.zip", Tally())
