"""Every module of the services and of shared has a test file of its own, or says where it is tested."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "sequencer", "archiver", "shared", "infra")

_DIALOGUE = "tests/edge/test_dialogue.py"
_HTTP = "tests/edge/http/test_http.py"
_DOCS = "tests/contract/test_docs.py"
_PUBLISHER = "tests/edge/test_publisher.py"
_COMMANDS = "tests/infra/cli/test_data_commands.py"
_UP = "tests/infra/cli/test_up.py"
_ERASE = "tests/infra/cli/test_erase.py"
_RETENTION = "tests/system/test_retention.py"
_FAULTS = "tests/system/test_faults.py"

ELSEWHERE = {
    "archiver/pieces.py": "tests/archiver/test_segment_reader.py",
    "archiver/columns.py": "tests/archiver/test_segment_reader.py",
    "archiver/sandbox_files.py": "tests/archiver/test_sandbox_reads.py",
    "archiver/requests.py": "tests/archiver/test_api.py",
    "infra/cli/progress.py": _COMMANDS,
    "infra/proof/findings.py": "tests/integration/test_check.py",
    "shared/archive_schema.py": "tests/archiver/test_parquet.py",
    "archiver/cached_erasures.py": "tests/archiver/test_erasing.py",
    "archiver/cached_messages.py": "tests/archiver/test_messages.py",
    "archiver/core/hot_messages.py": "tests/archiver/core/test_messages.py",
    "archiver/recount.py": "tests/archiver/test_cache.py",
    "shared/archive_s3.py": "tests/shared/test_archive_store.py",
    # described by documents that must be current
    "edge/api/asyncapi.py": _DOCS,
    "edge/api/codes.py": _DOCS,
    "edge/api/files.py": _DOCS,
    "edge/api/openapi.py": _DOCS,
    "edge/api/schemas.py": _DOCS,
    # assembly and endpoints: only a running edge says whether they are right
    "edge/app.py": _HTTP,
    "edge/http/caller.py": _HTTP,
    "edge/http/channels.py": _HTTP,
    "edge/http/asked.py": _HTTP,
    "edge/http/events.py": _HTTP,
    "edge/search.py": "tests/edge/http/test_search.py",
    "edge/node.py": _DIALOGUE,
    "edge/readiness.py": "tests/edge/test_outage.py",
    "edge/settings.py": "tests/edge/test_connection.py",
    "edge/metrics.py": "tests/edge/test_websocket.py",
    # a session as a client sees it
    "edge/commands.py": _DIALOGUE,
    "edge/targets.py": _DIALOGUE,
    "edge/intake.py": "tests/edge/test_connections.py",
    "edge/core/goodbye.py": "tests/edge/test_dialogue.py",
    "edge/socket_options.py": "tests/edge/test_websocket.py",
    "edge/listener.py": "tests/edge/test_websocket.py",
    "edge/descriptors.py": "tests/edge/test_audience.py",
    "edge/held.py": "tests/edge/test_audience.py",
    "edge/listing.py": "tests/edge/test_directory.py",
    "edge/roster.py": "tests/edge/test_membership.py",
    # behind the door of a sandbox, of a route
    "archiver/sandbox_child.py": "tests/archiver/test_sandbox.py",
    "edge/sql.py": "tests/edge/http/test_sql.py",
    "infra/cli/retention.py": _RETENTION,
    # a table behind the cache's door
    "archiver/retained.py": "tests/archiver/test_cache.py",
    "archiver/known_ids.py": "tests/archiver/test_cache.py",
    # behind the publisher's door
    "edge/waiting.py": "tests/edge/test_late_lane.py",
    # values without a rule of their own
    "edge/core/fields.py": "tests/edge/core/test_codec.py",
    "edge/core/frames.py": "tests/edge/core/test_codec.py",
    "sequencer/checkpoints.py": "tests/sequencer/test_app.py",
    "sequencer/follower.py": "tests/sequencer/test_app.py",
    "sequencer/heads.py": "tests/sequencer/test_app.py",
    "archiver/search/backlog.py": "tests/archiver/search/test_feed.py",
    "archiver/search/plan.py": "tests/archiver/search/test_finder.py",
    "archiver/search/service.py": "tests/archiver/search/test_api.py",
    "shared/connection.py": "tests/shared/test_bus.py",
    "shared/message_records.py": "tests/edge/http/test_messages.py",
    "shared/paging.py": "tests/archiver/core/test_page.py",
    "shared/envelope.py": "tests/shared/test_bus.py",
    "shared/client/client.py": "tests/integration/test_client.py",
    "shared/client/commands.py": "tests/integration/test_client.py",
    "shared/client/errors.py": "tests/shared/client/test_policy.py",
    "shared/client/updates.py": "tests/shared/client/test_session.py",
    # commands: what they print and how they end, against a running system; bad input has a file of its own
    "infra/cli/down.py": _UP,
    "infra/cli/export.py": _COMMANDS,
    "infra/cli/history.py": _COMMANDS,
    "infra/cli/import_slack.py": _COMMANDS,
    "infra/cli/search.py": _COMMANDS,
    "infra/cli/send.py": _COMMANDS,
    "infra/cli/sql.py": _COMMANDS,
    "infra/cli/status.py": _UP,
    "infra/cli/tail.py": _COMMANDS,
    "infra/cli/token.py": _UP,
    "infra/cli/verify.py": _COMMANDS,
    "infra/erasure/orders.py": _ERASE,
    "infra/erasure/pinned.py": _ERASE,
    "infra/erasure/proof.py": _ERASE,
    "infra/erasure/run.py": _ERASE,
    "infra/cli/options.py": "tests/infra/cli/test_access.py",
    "infra/cli/development_token.py": "tests/infra/cli/test_access.py",
    "infra/cli/bench.py": "tests/infra/cli/test_bad_input.py",
    "infra/cli/quiet.py": "tests/infra/cli/test_bad_input.py",
    "infra/cli/replay.py": _FAULTS,
    "infra/replay/receivers.py": _FAULTS,
    "infra/replay/run.py": _FAULTS,
    "infra/replay/source.py": _FAULTS,
    # the local system: only running processes say whether it holds
    "infra/local/child.py": "tests/infra/local/test_supervisor.py",
    "infra/local/replacement.py": "tests/infra/cli/test_restart.py",
    "infra/local/lifeline.py": "tests/infra/local/test_plan.py",
    "infra/local/system.py": "tests/infra/local/test_data_directory.py",
    # behind the door of a conversion, an import, a check
    "infra/slack/records.py": "tests/infra/slack/test_convert.py",
    "infra/slack/tally.py": "tests/infra/slack/test_convert.py",
    "infra/slack/run.py": "tests/integration/test_import_slack.py",
    # an export of a running system
    "infra/export/heads.py": "tests/integration/test_export.py",
    "infra/export/run.py": "tests/integration/test_export.py",
    "infra/export/selection.py": "tests/infra/export/test_source.py",
    "infra/proof/check.py": "tests/integration/test_check.py",
    "infra/proof/sources.py": "tests/integration/test_check.py",
}
"""Modules whose promises are tested through a more stable door, and the file that does it."""


def has_code(path: Path) -> bool:
    """Whether a module defines a function; names and declarations alone need no test."""
    tree = ast.parse(path.read_text())
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))


def untested(root: Path, elsewhere: dict[str, str]) -> list[str]:
    """Modules that have neither a test file of their own nor an entry."""
    modules = [
        path.relative_to(root) for package in PACKAGES for path in sorted((root / package).rglob("*.py"))
    ]
    return [
        module.as_posix()
        for module in modules
        if module.stem not in {"__init__", "__main__"}
        and module.as_posix() not in elsewhere
        and has_code(root / module)
        and not mirror(root, module).exists()
    ]


def mirror(root: Path, module: Path) -> Path:
    """The test file of a module."""
    return root / "tests" / module.with_name(f"test_{module.name}")


def test_every_module_is_tested() -> None:
    """A new module comes with its test, or with the name of the test that covers it."""
    assert not untested(ROOT, ELSEWHERE)


def test_entries_are_true() -> None:
    """An entry names a module that is there, has no test file of its own, and a test that is there."""
    for module, test in ELSEWHERE.items():
        assert (ROOT / module).exists(), f"{module} is gone"
        assert not mirror(ROOT, Path(module)).exists(), f"{module} has its own test now"
        assert "def test_" in (ROOT / test).read_text(), f"{test} tests nothing"


def test_an_untested_module_is_found(tmp_path: Path) -> None:
    """The check can fail, and lets declarations pass."""
    files = {"edge/a.py": "def f(): ...", "edge/core/b.py": "def f(): ...", "shared/c.py": "X = 1"}
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    assert untested(tmp_path, {}) == ["edge/a.py", "edge/core/b.py"]
    (tmp_path / "tests/edge/core").mkdir(parents=True)
    (tmp_path / "tests/edge/core/test_b.py").touch()
    assert untested(tmp_path, {"edge/a.py": "tests/edge/test_z.py"}) == []
