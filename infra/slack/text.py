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
        parts = (clean(part, tally) for part in _substitutes(record))
        text = "\n".join(dict.fromkeys(part for part in parts if part)).strip() or text
    return _cut(text, tally)


def files_of(record: Mapping[str, object]) -> int:
    """How many files a record has."""
    return sum(1 for _ in _files(record))


def clean(value: object, tally: Tally) -> str:
    """A string without NUL and lone surrogates (AT-80); empty if the value is no string."""
    if not isinstance(value, str):
        return ""
    cleaned = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if cleaned != value:
        tally.alter("text with a NUL or a lone surrogate: replaced")
    return cleaned


def _substitutes(record: Mapping[str, object]) -> Iterator[object]:
    yield _text_of_blocks(record.get("blocks"))
    for attachment in _objects(record.get("attachments")):
        named = (attachment.get(name) for name in ("text", "fallback", "pretext", "title"))
        yield next(filter(None, named), None) or _text_of_blocks(attachment.get("blocks"))
    comment = record.get("comment")
    if isinstance(comment, dict):
        yield comment.get("comment")
    for file in _files(record):
        yield file.get("title") or file.get("name") or _UNNAMED.get(_plain(file.get("mode")), "[file]")


_UNNAMED = {
    "hidden_by_limit": "[file hidden by the limit of Slack's plan]",
    "tombstone": "[deleted file]",
    "external": "[linked file]",
}
"""A message of nothing but such a file may have replies: it is kept."""


def _text_of_blocks(blocks: object) -> str:
    """What Slack's blocks say, without their layout. They nest as somebody pleased: no recursion."""
    said: list[str] = []
    waiting: list[object] = [blocks]
    for _ in range(BLOCKS_MAX):
        if not waiting:
            break
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, dict):
            said.extend(_words(node))
            waiting.extend(
                node[name] for name in reversed(_NESTED) if isinstance(node.get(name), list | dict)
            )
    return "".join(said).strip()


def _words(node: Mapping[str, object]) -> Iterator[str]:
    kind, text = _plain(node.get("type")), node.get("text") or node.get("url")
    if kind in _PARAGRAPHS:
        yield "\n"
    if isinstance(text, str):
        yield text
    for name, form in _REFERENCES.items():
        if kind == name and isinstance(value := node.get("name") or node.get(f"{name}_id"), str):
            yield form.format(value)


BLOCKS_MAX = 10_000
_NESTED = ("text", "fields", "elements", "title")
_PARAGRAPHS = frozenset({"section", "header", "context", "rich_text", "rich_text_section", "image"})
_REFERENCES = {"emoji": ":{}:", "user": "<@{}>", "channel": "<#{}>", "usergroup": "<!subteam^{}>"}


def _plain(value: object) -> str:
    """A string; what is none is not made one, for its form may be too deep for that."""
    return value if isinstance(value, str) else ""


def _files(record: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield from _objects(record.get("files"))
    yield from _objects([record.get("file")])


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, dict))


def _cut(text: str, tally: Tally) -> str:
    body = text.encode()
    if len(body) <= TEXT_BYTES_MAX:
        return text
    tally.alter("text longer than the limit: cut")
    return body[: TEXT_BYTES_MAX - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT
