"""Which SQL a user may run: one SELECT over the views, with functions that only compute. No other.

The tree is what DuckDB's parser makes of the text (`json_serialize_sql`). Each node must be of a kind that is
named here, each function one of `sql_functions`, each table a view or a name that the query itself defines:
so whatever reads files, settings, the catalogue or other SQL is refused without being known by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from archiver.core.sql_functions import FUNCTIONS, TABLE_FUNCTIONS
from shared.errors import BadRequest

VIEWS = ("events", "messages", "channels", "members", "reactions")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.IGNORECASE)
"""Names that a query may define. None is a file's: DuckDB reads a table `'x.parquet'` from the disk."""

_EXPRESSIONS = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION"}
    | {"LAMBDA", "LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW"}
)
_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLES = frozenset(
    {"BASE_TABLE", "EMPTY", "EMPTY_FROM", "EXPRESSION_LIST", "JOIN", "SUBQUERY", "TABLE_FUNCTION"}
)
_MODIFIERS = frozenset({"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"})
_ORDERS = frozenset({"ORDER_DEFAULT", "ASCENDING", "DESCENDING"})
_KINDS = _NODES | _TABLES | _MODIFIERS | _ORDERS
Tree = Mapping[str, object]


def check(tree: Tree) -> frozenset[str]:
    """The views that a statement uses. Raises `BadRequest` unless it is one that a user may run."""
    if tree.get("error"):
        raise BadRequest(f"{tree.get('error_message')}{_where(tree.get('position'))}")
    statements = tree.get("statements")
    if not isinstance(statements, list) or len(statements) != 1:
        raise BadRequest("one SELECT is allowed")
    found = list(nodes(statements[0]))
    defined = {name.lower() for node in found for name in _defined(node)}
    for node in found:
        _check_node(node, defined)
    return frozenset(str(node.get("table_name")).lower() for node in found) & frozenset(VIEWS)


def _check_node(node: Tree, defined: set[str]) -> None:
    kind, family = node.get("type"), node.get("class")
    if family is not None:
        if family not in _EXPRESSIONS:
            raise BadRequest(f"{_said(family)} is not allowed here{_where(node.get('query_location'))}")
    elif isinstance(kind, str) and kind not in _KINDS and not _is_type_info(kind):
        raise BadRequest(f"{_said(kind)} is not allowed here{_where(node.get('query_location'))}")
    if "function_name" in node:
        _check_function(node, FUNCTIONS)
    if kind == "TABLE_FUNCTION":
        function = node.get("function")
        if not isinstance(function, dict) or function.get("class") != "FUNCTION":
            raise BadRequest("a table function must be called by its name")
        _check_function(function, TABLE_FUNCTIONS)
    if "table_name" in node and family is None:
        _check_table(node, defined)


def _check_function(node: Tree, allowed: frozenset[str]) -> None:
    name = str(node.get("function_name")).lower()
    # Some syntax becomes a call in `main`; nothing else has a reason to name a schema.
    if name not in allowed or node.get("schema") not in {"", "main"} or node.get("catalog"):
        raise BadRequest(f"the function {name} is not allowed here{_where(node.get('query_location'))}")


def _check_table(node: Tree, defined: set[str]) -> None:
    name = str(node["table_name"]).lower()
    is_plain = not node.get("schema_name") and not node.get("catalog_name") and not node.get("at_clause")
    if not is_plain or (name not in VIEWS and name not in defined):
        known = ", ".join(VIEWS)
        raise BadRequest(f"no table {name}: there are {known}{_where(node.get('query_location'))}")


def _defined(node: Tree) -> Iterator[str]:
    """The names of common table expressions that a node brings. Raises `BadRequest` for odd ones."""
    found = []
    entries = node.get("map")
    if isinstance(entries, list):
        found = [str(entry.get("key")) for entry in entries if isinstance(entry, dict)]
    if "cte_name" in node:
        found.append(str(node["cte_name"]))
    for name in found:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"choose another name than {name!r}: letters, digits and _")
        yield name


def nodes(value: object) -> Iterator[Tree]:
    """Every object of the tree; values of constants are data and not looked into."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            is_constant = value.get("class") == "CONSTANT"
            waiting += [inner for name, inner in value.items() if not (is_constant and name == "value")]
        elif isinstance(value, list):
            waiting += value


def _is_type_info(kind: str) -> bool:
    """Describes a data type, in a cast."""
    return kind.endswith("_TYPE_INFO")


def _said(kind: object) -> str:
    return str(kind).replace("_", " ").lower()


def _where(position: object) -> str:
    number = int(position) if isinstance(position, int | str) and str(position).isdecimal() else -1
    return f" (at character {number + 1})" if 0 <= number < 1 << 32 else ""
