"""A Slack export with every trap that real exports, and malicious ones, were seen to hold."""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from pathlib import Path

GENERAL = "CHOSTILE"
WRONG: list[object] = [None, True, -1, 10**30, 1e400, "", "\x00", "\ud800", [], [[]], {}, {"value": []}]
"""What may stand where something else is expected."""
FIELDS = (
    *("ts", "user", "text", "type", "subtype", "thread_ts", "edited", "reactions", "files", "attachments"),
    *("blocks", "bot_id", "bot_profile", "username", "comment", "hidden", "client_msg_id", "message"),
)

Records = list[object]


def at(second: int, **fields: object) -> dict[str, object]:
    """A message of that second."""
    ts = f"14528400{second:02d}.000100"
    return {"type": "message", "ts": ts, "user": "U1", "text": f"text {second}"} | fields


ROOT = at(1)["ts"]
MISSING = "1400000000.000001"


def said() -> Records:
    """The day of the channel's present name."""
    return [
        at(1, thread_ts=ROOT, reply_count=2, text="root"),
        at(2, user="U2", thread_ts=ROOT, text="reply"),
        at(3, user="U3", thread_ts=ROOT, subtype="thread_broadcast", text="to all"),
        at(4, user="UGONE", text="by nobody whom users.json knows"),
        at(5, user="USLACKBOT", text="beep"),
        {"type": "message", "subtype": "bot_message", "ts": at(6)["ts"], "text": "build", "bot_id": "B1"},
        {"type": "message", "subtype": "bot_message", "ts": at(7)["ts"], "text": "", "username": "hook"}
        | {"attachments": [{"fallback": "passed"}], "user": None},
        at(8, text="", files=[{"id": "F1", "mode": "hidden_by_limit"}]),
        at(9, thread_ts=MISSING, text="first orphan"),
        at(10, thread_ts=MISSING, text="second orphan"),
        at(11, subtype="tombstone", user="USLACKBOT", hidden=True, text="This message was deleted."),
        at(12, thread_ts=at(11)["ts"], text="answer to a tombstone"),
        at(13, text="nul \x00 and half of a pair \ud83d"),
        at(14, text="mended", edited={"user": "U1", "ts": "1452841000.000001"}),
        at(15, text="liked")
        | {"reactions": [{"name": "tada", "users": ["U2", "U2", "U3", "UGONE", 7], "count": 10**20}]},
        at(16, text="x" * 40_000),
        at(17, subtype="channel_join", user="U9"),
        {k: v for k, v in at(18).items() if k != "ts"},
        {k: v for k, v in at(19).items() if k != "user"},
        at(20) | {"ts": "9999999999.000000", "text": "from the year 2286"},
        at(21, subtype="channel_name", name="general", old_name="lobby"),
        at(22) | {"ts": 10**40},
        "a record that is text",
    ]


def earlier() -> Records:
    """The day of the channel's former name: the same messages, before some of them were edited."""
    return [
        at(1, text="root", thread_ts=ROOT),
        at(14, text="brokne"),
        at(11, text="deleted since"),
        at(30, text="only here"),
    ]


def wrong() -> Records:
    """Every field with every wrong value."""
    records: Records = []
    for number, (field, value) in enumerate((f, v) for f in FIELDS for v in WRONG):
        records.append(at(0) | {"ts": f"1452850000.{number:06d}", "text": f"wrong {number}"} | {field: value})
    return records + WRONG


def build(path: Path) -> int:
    """Write the export; returns how many records can be read in it."""
    days: dict[str, Records] = {
        "general/2016-01-15.json": said(),
        "lobby/2016-01-15.json": earlier(),
        "general/2016-01-20.json": [at(14, text="mended twice", edited={"ts": "1452842000.000001"})],
        "general/wrong.json": wrong(),
        "board/2016-01-15.json": [at(1, text="secret"), at(2, subtype="group_join", user="U2")],
        "DHOSTILE/2016-01-15.json": [at(1, text="between two"), at(1, text="between two")],
        "mpdm-u1--u2--u3-1/2016-01-15.json": [at(1, text="between three")],
        "ghost/2016-01-15.json": [at(1, user="U5", text="of no list")],
        "café/2016-01-15.json": [at(1, text="named in UTF-8, not flagged")],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says that some names are there already
        for name, entries in (_lists() | days).items():
            out.writestr(name, json.dumps(entries))
        for name, body in _traps().items():
            out.writestr(name, body)
        out.writestr("general/2016-01-15.json", json.dumps([at(31, text="in a second file of that name")]))
        out.writestr("general/lzma.json", b"[]", zipfile.ZIP_LZMA)
    _unflag(path, "café")
    return sum(map(len, days.values())) + 2  # the second file of one name, and digits.json


def _lists() -> dict[str, Records]:
    general = {
        "id": GENERAL,
        "name": "general",
        "created": "1452837318",
        "creator": "U1",
        "members": ["U1", "U2"],
    }
    board = {"id": "GHOSTILE", "name": "board", "creator": "U1", "members": ["U1", "U2"], "created": 10**30}
    return {
        "users.json": [{"id": "U1", "name": "one"}, {"id": None}, 7],
        "channels.json": [
            {**general, "pins": [{"id": ROOT, "user": "U2"}, {"id": MISSING}, 7], "topic": {"value": ["x"]}},
            {**general, "name": "lobby"},
            board,
            {"id": "CCAFE", "name": "café", "members": 7, "created": "never"},
            {"id": "../../etc", "name": "../../etc"},
            {"id": {"deep": []}},
            *WRONG,
        ],
        "groups.json": [board],
        "dms.json": [{"id": "DHOSTILE", "members": ["U1", "U2"], "created": 1452837318}],
        "mpims.json": [{"id": "GHOSTILE3", "name": "mpdm-u1--u2--u3-1", "members": ["U1", "U2", "U3"]}],
    }


def _traps() -> dict[str, bytes]:
    return {
        "../../../tmp/slipped/2016-01-15.json": b"[]",
        "/etc/slipped.json": b"[]",
        "general\\slipped.json": b"[]",
        "general/../../slipped.json": b"[]",
        "general/deep/2016-01-15.json": b"[]",
        "general/broken.json": b'[{"type": "message", "ts": "145',
        "general/empty.json": b"",
        "general/object.json": b'{"ts": "1.0"}',
        "general/nested.json": b"[" * 200_000 + b"]" * 200_000,
        "general/bomb.json": b" " * (65 * 1024 * 1024),
        "general/objects.json": b"[" + b"{}," * 2_100_000 + b"{}]",
        "general/digits.json": b"[%s]" % (b"9" * 10_000),
        "general/picture.png": b"\x89PNG",
        "integration_logs.json": b"{}",
    }


def _unflag(path: Path, folder: str) -> None:
    """Take the flag of UTF-8 from a folder's names, as old tools leave it out."""
    raw = bytearray(path.read_bytes())
    name = folder.encode()
    for signature, flags, named in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        start = raw.find(signature)
        while start >= 0:
            if raw[start + named : start + named + len(name)] == name:
                struct.pack_into("<H", raw, start + flags, 0)
            start = raw.find(signature, start + 4)
    path.write_bytes(raw)
