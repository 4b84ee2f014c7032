"""Which channels a query can be about, where it says so: the others need not be read at all.

Conditions of a query never reach the files (`sandbox_query`), but one kind can be read off its text. If each
place that reads a view says `WHERE channel = 'c'`, or `IN` a list, no row of another channel can matter, and
what the user may read is narrowed to these before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from archiver.core.sql import VIEWS, Tree, nodes


def channels_named(tree: Tree) -> frozenset[str] | None:
    """The only channels whose rows can matter; None if a place that reads a view does not name any.

    `tree` has passed `check`.
    """
    named: set[str] = set()
    readings = 0
    for node in nodes(tree):
        if node.get("type") != "SELECT_NODE":
            continue
        channels = _named_by(node)
        if channels is not None:
            named |= channels
            readings += 1
    total = sum(_is_view(node) for node in nodes(tree))
    return frozenset(named) if readings == total else None


def _named_by(select: Tree) -> frozenset[str] | None:
    """What a SELECT from one view says about its channel; None for any other, and if it says nothing."""
    source = select.get("from_table")
    if not isinstance(source, dict) or not _is_view(source):
        return None
    if source.get("sample") or source.get("column_name_alias") or select.get("sample"):
        return None
    if any(str(node.get("alias", "")).lower() == "channel" for node in nodes(select.get("select_list"))):
        return None
    own = {str(source.get("alias") or source.get("table_name")).lower()}
    for condition in _conjuncts(select.get("where_clause")):
        channels = _channels(condition, own)
        if channels is not None:
            return channels
    return None


def _channels(condition: Tree, own: set[str]) -> frozenset[str] | None:
    if condition.get("type") == "COMPARE_EQUAL":
        sides = [condition.get("left"), condition.get("right")]
    elif condition.get("type") == "COMPARE_IN":
        children = condition.get("children")
        sides = children if isinstance(children, list) else []
    else:
        return None
    columns = [side for side in sides if _is_channel(side, own)]
    values = [value for side in sides if (value := _text(side)) is not None]
    is_first = condition.get("type") == "COMPARE_EQUAL" or bool(sides and _is_channel(sides[0], own))
    return frozenset(values) if len(columns) == 1 and len(values) == len(sides) - 1 and is_first else None


def _conjuncts(condition: object) -> Iterator[Tree]:
    if isinstance(condition, dict):
        children = condition.get("children")
        if condition.get("type") == "CONJUNCTION_AND" and isinstance(children, list):
            for child in children:
                yield from _conjuncts(child)
        else:
            yield condition


def _is_view(node: Tree) -> bool:
    return node.get("type") == "BASE_TABLE" and str(node.get("table_name")).lower() in VIEWS


def _is_channel(side: object, own: set[str]) -> bool:
    if not isinstance(side, dict) or side.get("class") != "COLUMN_REF":
        return False
    names = [str(name).lower() for name in side.get("column_names") or ()]
    return names == ["channel"] or (len(names) == 2 and names[0] in own and names[1] == "channel")


def _text(side: object) -> str | None:
    if not isinstance(side, dict) or side.get("class") != "CONSTANT":
        return None
    value = side.get("value")
    text = value.get("value") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None
