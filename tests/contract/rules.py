"""The house rules that a machine can check, as functions from source text to complaints."""

from __future__ import annotations

import ast
import re

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
BANNED = re.compile(
    r"(^|_)(utils?|helpers?|common|manager|processor)($|_)|(Manager|Processor|Helper|Utils?)$"
)
IMPURE = frozenset(
    {
        "asyncio",
        "time",
        "random",
        "secrets",
        "logging",
        "structlog",
        "os",
        "socket",
        "threading",
        "subprocess",
    }
)
LEFTOVER = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
UNBOUNDED = re.compile(r"asyncio\.Queue\(\)|(?<!\w)deque\(\)")


def too_long(source: str, lines_max: int = FILE_LINES_MAX) -> list[str]:
    """Files and functions beyond their size."""
    found = [f"{count} lines"] if (count := len(source.splitlines())) > lines_max else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{node.name} has {length} lines")
    return found


def badly_named(module: str, source: str) -> list[str]:
    """Modules and classes whose name says nothing."""
    classes = [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return [name for name in (module, *classes) if BANNED.search(name)]


def impure(source: str) -> list[str]:
    """Modules that a core may not import: clocks, chance, input and output, the event loop."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return [name for name in names if name.partition(".")[0] in IMPURE]


def leftovers(source: str) -> list[str]:
    """Notes to oneself."""
    return [match[0] for match in LEFTOVER.finditer(source)]


def unbounded(source: str) -> list[str]:
    """Queues without a bound."""
    return [match[0] for match in UNBOUNDED.finditer(source)]
