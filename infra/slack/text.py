"""The text of a Slack record: its own, or what its attachments, blocks and files say in place of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra.slack.tally import Tally

TEXT_BYTES_MAX = 16_384
"""The server's default limit; Slack's own is 40,000 characters."""

_CUT = " […]"


def text_of(record: Mapping[str, object], tally: Tally) -> str:
    """The text to import, empty if there is none; cut, and counted, at the limit."""
    text = clean(record.get("text"), tally)
    if not text.strip():
        text = "\n".join(dict.fromkeys(clean(part, tally) for part in _substitutes(record))).strip()
    files = _hidden_files(record)
    tally.alter("file of a message: its contents are not imported", files)
    return _cut(text, tally)


def clean(value: object, tally: Tally) -> str:
    """A string without NUL and lone surrogates (AT-80); empty if the value is no string."""
    if not isinstance(value, str):
        return ""
    cleaned = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if cleaned != value:
        tally.alter("text with a NUL or a lone surrogate: replaced")
    return cleaned


def _substitutes(record: Mapping[str, object]) -> Iterator[object]:
    for attachment in _objects(record.get("attachments")):
        yield next(
            (attachment[name] for name in ("text", "fallback", "pretext", "title") if attachment.get(name)),
            "",
        )
    comment = record.get("comment")
    if isinstance(comment, dict):
        yield comment.get("comment")
    for file in _files(record):
        yield file.get("title") or file.get("name")


def _files(record: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield from _objects(record.get("files"))
    yield from _objects([record.get("file")])


def _hidden_files(record: Mapping[str, object]) -> int:
    return sum(1 for _ in _files(record))


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, dict))


def _cut(text: str, tally: Tally) -> str:
    body = text.encode()
    if len(body) <= TEXT_BYTES_MAX:
        return text
    tally.alter("text longer than the limit: cut")
    return body[: TEXT_BYTES_MAX - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT
