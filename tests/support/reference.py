"""The operator's reference, `infra/REFERENCE.md`: every setting, metric, error code and close code.

Made from the code, because a table that is written by hand is wrong after a week. It lives among the tests,
since nothing else may import all services: `python -m tests.support.reference` writes it, and
`tests/contract/test_docs.py` fails when it is not current.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic_settings import BaseSettings

from archiver.settings import ArchiverSettings
from edge.api.codes import close_codes, error_codes
from edge.settings import EdgeSettings
from sequencer.settings import SequencerSettings
from shared.errors import ParleyError
from shared.metrics import declared
from shared.settings import CommonSettings, documented

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "infra" / "REFERENCE.md"
SETTINGS: dict[str, type[BaseSettings]] = {
    "All services": CommonSettings,
    "Edge": EdgeSettings,
    "Sequencer": SequencerSettings,
    "Archiver": ArchiverSettings,
}
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")

_HEAD = """\
# Reference

Settings, metrics and codes of version 1. This file is made from the code by `just api`; a test fails when it
is not current. Frames and routes are in [asyncapi.json](../edge/api/asyncapi.json) and
[openapi.json](../edge/api/openapi.json).
"""


def render() -> str:
    """The whole file."""
    import_all()
    return "\n".join([_HEAD, *_settings(), *_metrics(), *_errors(), *_closes()])


def import_all() -> None:
    """Import every module, so that every metric is declared and every error class known."""
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def error_kinds(kind: type[ParleyError] = ParleyError) -> Iterator[type[ParleyError]]:
    """All classes of the tree of errors that are imported, except those that tests declare."""
    if kind.__module__.partition(".")[0] in PACKAGES:
        yield kind
    for child in kind.__subclasses__():
        yield from error_kinds(child)


def _settings() -> Iterable[str]:
    yield "## Settings\n\nEnvironment variables, read once at the start of a service.\n"
    common = {row.variable for row in documented(CommonSettings)}
    for title, settings in SETTINGS.items():
        own = settings is CommonSettings
        rows = [row for row in documented(settings) if own or row.variable not in common]
        yield f"### {title}\n"
        yield _table(("variable", "default", "meaning"), [(f"`{v}`", _code(d), m) for v, d, m in rows])


def _metrics() -> Iterable[str]:
    yield "## Metrics\n\nAt `/metrics` of every service. Labels come from closed sets: never an id.\n"
    yield _table(("metric", "type", "meaning"), [(f"`{m.name}`", m.kind, m.meaning) for m in declared()])


def _errors() -> Iterable[str]:
    yield "## Error codes\n\nIn `error` frames and problem documents. The session stays open.\n"
    rows = [
        (f"`{row['code']}`", str(row["status"]), "yes" if row["retryable"] else "no", str(row["meaning"]))
        for row in error_codes()
    ]
    yield _table(("code", "HTTP status", "retry under the same id", "meaning"), rows)
    yield "Never sent to a client: in logs, from the commands and from the SDK.\n"
    sent = {row["code"] for row in error_codes()}
    inside = {
        kind.code: " ".join((kind.__doc__ or "").split()) for kind in error_kinds() if kind.code not in sent
    }
    yield _table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in sorted(inside.items())])


def _closes() -> Iterable[str]:
    yield (
        "## Close codes\n\n"
        "4000 to 4499: reconnect and resume. 4500 to 4999: do not come back without a change.\n"
    )
    rows = [
        (str(row["code"]), f"`{row['reason']}`", "yes" if row["resumable"] else "no", str(row["meaning"]))
        for row in close_codes()
    ]
    yield _table(("code", "reason", "come back", "meaning"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    REFERENCE.write_text(render())
