"""Logs: one JSON object a line, with the origin, the trace and the fields, whatever the fields are."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared import logs, telemetry
from shared.settings import CommonSettings
from tests.support.spans import Spans


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is global to the process: put it back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """What was written to standard error; nothing may go to standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_is_an_event_with_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """The event's name, level, time and service stand beside its fields."""
    logs.configure(CommonSettings(), "edge")
    structlog.get_logger().info("session.opened", user="alice", count=3)
    (line,) = lines(capsys)
    assert line["event"] == "session.opened"
    assert (line["service"], line["level"], line["user"], line["count"]) == ("edge", "info", "alice", 3)
    assert str(line["at"]).endswith("Z")


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """`warning` hides `info`."""
    logs.configure(CommonSettings(log_level="warning"), "edge")
    structlog.get_logger().info("session.opened")
    structlog.get_logger().warning("session.lagged")
    assert [line["event"] for line in lines(capsys)] == ["session.lagged"]


def test_any_field_can_be_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that is not JSON is shown by its repr; a log line never raises."""
    logs.configure(CommonSettings(), "edge")
    structlog.get_logger().info("frame.refused", body=b"\xff", keys={1: {2}}, error=ValueError("x"))
    (line,) = lines(capsys)
    assert line["body"] == repr(b"\xff")
    assert line["error"] == "ValueError('x')"


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is a field, so that one event is one line."""
    logs.configure(CommonSettings(), "edge")
    structlog.get_logger().error("service.failed", exc_info=ValueError("broken"))
    (line,) = lines(capsys)
    assert "ValueError: broken" in str(line["exception"])


def test_what_libraries_log_has_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of libraries appear as events; their chatter does not."""
    logs.configure(CommonSettings(), "edge")
    logging.getLogger("uvicorn.error").info("Started server")
    logging.getLogger("nats").warning("slow %s", "consumer")
    (line,) = lines(capsys)
    assert (line["event"], line["library"], line["message"]) == ("library.logged", "nats", "slow consumer")


def test_a_line_inside_a_span_names_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """From a log line one finds the trace."""
    logs.configure(CommonSettings(), "edge")
    with Spans() as spans, telemetry.root_span("command.received"):
        structlog.get_logger().info("command.refused")
    (line,) = lines(capsys)
    assert line["trace"] == spans.trace_ids.pop()


def test_the_console_form_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The console form shows the event and its fields, and no colours where there is no terminal."""
    logs.configure(CommonSettings(log_format="console"), "edge")
    structlog.get_logger().info("session.opened", user="alice")
    shown = capsys.readouterr().err
    assert "session.opened" in shown
    assert "user=alice" in shown
    assert "\x1b" not in shown
