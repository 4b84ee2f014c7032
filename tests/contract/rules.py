"""The house rules that a machine can check, as functions from source text to complaints."""

from __future__ import annotations

import ast
import functools
import re

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
PATIENCE_S = 30
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
        "pathlib",
        "datetime",
    }
)
LEFTOVER = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
QUEUES = {
    "deque": ("maxlen", 1),
    "Queue": ("maxsize", 0),
    "LifoQueue": ("maxsize", 0),
    "PriorityQueue": ("maxsize", 0),
}
"""Containers that grow: the argument that bounds them, and its place."""

EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
LOG_LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
OPEN_LABELS = frozenset({"channel", "user", "author", "workspace", "session", "id", "subject", "seq"})


def too_long(source: str) -> list[str]:
    """Files and functions beyond their size."""
    found = [f"{count} lines"] if (count := len(source.splitlines())) > FILE_LINES_MAX else []
    for node in _nodes(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{node.name} has {length} lines")
    return found


def badly_named(module: str, source: str) -> list[str]:
    """Modules and classes whose name says nothing."""
    classes = [node.name for node in _nodes(source) if isinstance(node, ast.ClassDef)]
    return [name for name in (module, *classes) if BANNED.search(name)]


def impure(source: str) -> list[str]:
    """Modules that a core may not import: clocks, chance, input and output, the event loop."""
    return [name for name in _imports(source) if name.partition(".")[0] in IMPURE]


def leftovers(source: str) -> list[str]:
    """Notes to oneself."""
    return [match[0] for match in LEFTOVER.finditer(source)]


def unbounded(source: str) -> list[str]:
    """Queues without a bound, whatever is in them: a bound that is missing, 0 or None."""
    found = []
    for call, name in _calls(source):
        keyword, place = QUEUES.get(name.rpartition(".")[2], ("", 0))
        given = [k.value for k in call.keywords if k.arg == keyword] or call.args[place : place + 1]
        bound = ast.unparse(given[0]) if given else "None"
        if keyword and bound in {"None", "0"}:
            found.append(ast.unparse(call))
    return found


def misnamed_logs(source: str) -> list[str]:
    """Log lines whose event is not a literal `noun.past_verb`."""
    found = []
    for call, name in _calls(source):
        logger, _, level = name.rpartition(".")
        if logger.rpartition(".")[2] in {"_log", "log"} and level in LOG_LEVELS:
            event = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
            if not isinstance(event, str) or not EVENT.fullmatch(event):
                found.append(ast.unparse(call))
    return found


def open_labels(source: str) -> list[str]:
    """Metrics outside `parley_`, without a meaning, or with labels that grow with use (AT-83)."""
    found = []
    for call, name in _calls(source):
        if name.rpartition(".")[2] in {"Counter", "Gauge", "Histogram", "Summary"} and len(call.args) > 1:
            metric, meaning, *labels = [ast.literal_eval(argument) for argument in call.args[:3]]
            labels += [ast.literal_eval(k.value) for k in call.keywords if k.arg == "labelnames"]
            names = {label for group in labels for label in group}
            if not metric.startswith("parley_") or not meaning or names & OPEN_LABELS:
                found.append(ast.unparse(call))
    return found


def unexplained(source: str) -> list[str]:
    """Tests that do not say what must hold."""
    return [
        node.name
        for node in _nodes(source)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]


def impatient(source: str) -> list[str]:
    """Sleeps for a guess, and mocks; `sleep(0)` lets others run, and `retry_after` is no guess."""
    sleeps = [
        ast.unparse(call)
        for call, name in _calls(source)
        if name in {"time.sleep", "asyncio.sleep"}
        and ast.unparse(call.args[0]) != "0"
        and "retry_after" not in ast.unparse(call.args[0])
    ]
    return sleeps + [name for name in _imports(source) if "mock" in name]


def hurried(source: str) -> list[str]:
    """Waits that a busy machine turns into failures; one whose end is expected or ignored may be short."""
    expected = {
        id(inner)
        for node in _nodes(source)
        if isinstance(node, ast.With | ast.AsyncWith | ast.Try) and "TimeoutError" in _expects(node)
        for inner in ast.walk(node)
    }
    return [
        ast.unparse(call)
        for call, name in _calls(source)
        if id(call) not in expected
        for wait in _waits(call, name)
        if isinstance(wait, ast.Constant) and isinstance(wait.value, int | float) and wait.value < PATIENCE_S
    ]


def tried_once(source: str) -> list[str]:
    """Commits that may not be repeated: after half a second nobody knows what became of them."""
    return [
        ast.unparse(call)
        for call, name in _calls(source)
        if name.endswith(("bus.commit", "log.commit"))
        and not {"msg_id", "expect_last"} & {keyword.arg for keyword in call.keywords}
    ]


def _expects(node: ast.With | ast.AsyncWith | ast.Try) -> str:
    """The source of what catches around a block."""
    if isinstance(node, ast.Try):
        return " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
    return " ".join(ast.unparse(item) for item in node.items)


def _waits(call: ast.Call, name: str) -> list[ast.expr]:
    if name == "asyncio.timeout":
        return call.args
    return [word.value for word in call.keywords if word.arg == "within_s"]


@functools.lru_cache(maxsize=1)  # one file is asked many questions
def _nodes(source: str) -> list[ast.AST]:
    """Every node of its tree."""
    return list(ast.walk(ast.parse(source)))


@functools.lru_cache(maxsize=1)
def _calls(source: str) -> list[tuple[ast.Call, str]]:
    """Every call with the name of what is called, without type arguments."""
    calls = [node for node in _nodes(source) if isinstance(node, ast.Call)]
    return [
        (call, ast.unparse(call.func.value if isinstance(call.func, ast.Subscript) else call.func))
        for call in calls
    ]


def _imports(source: str) -> list[str]:
    names: list[str] = []
    for node in _nodes(source):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names
