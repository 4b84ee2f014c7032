"""Telemetry: one trace from command to delivery through NATS headers; unsampled work costs nothing."""

from __future__ import annotations

import pytest
from opentelemetry.trace import INVALID_SPAN, StatusCode

from shared import telemetry
from shared.errors import Forbidden, Misconfigured
from shared.settings import CommonSettings
from tests.support.spans import Spans


def test_one_trace_from_command_to_delivery() -> None:
    """What one process puts into headers, another continues: same trace, right parent."""
    headers: dict[str, str] = {"Nats-Msg-Id": "1"}
    with Spans() as spans:
        with telemetry.root_span("command.received"), telemetry.span("event.committed"):
            telemetry.inject(headers)
        with telemetry.span("event.delivered", headers):
            pass
        committed, received, delivered = spans.finished
    assert len(spans.trace_ids) == 1
    assert committed.parent is not None
    assert delivered.parent is not None
    assert received.context is not None
    assert committed.context is not None
    assert committed.parent.span_id == received.context.span_id
    assert delivered.parent.span_id == committed.context.span_id
    assert headers["Nats-Msg-Id"] == "1"


def test_a_span_that_is_no_block() -> None:
    """Its headers carry its trace, it lasts until it is ended, and it is never the current one."""
    with Spans() as spans:
        begun = telemetry.begin("command.received")
        assert telemetry.headers() == {}
        with telemetry.span("event.delivered", telemetry.headers(begun)):
            pass
        telemetry.end(begun, Forbidden("no"))
        delivered, received = spans.finished
    assert len(spans.trace_ids) == 1
    assert delivered.parent is not None
    assert received.context is not None
    assert delivered.parent.span_id == received.context.span_id
    assert received.status.status_code is StatusCode.ERROR
    assert telemetry.headers(telemetry.begin("unconfigured")) == {}


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_first_span_decides_for_all(ratio: float) -> None:
    """Unsampled: no header, no spans anywhere, and no new trace downstream."""
    headers: dict[str, str] = {}
    with Spans(ratio) as spans:
        with telemetry.root_span("command.received"), telemetry.span("event.committed"):
            telemetry.inject(headers)
        with telemetry.span("event.delivered", headers):
            pass
    assert bool(headers) == bool(ratio)
    assert len(spans.finished) == 3 * ratio


@pytest.mark.parametrize("value", ["", "junk", "junk-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_bad_header_is_harmless(value: str) -> None:
    """A foreign or broken traceparent neither raises nor reaches a parent that does not exist."""
    with Spans() as spans, telemetry.span("event.delivered", {telemetry.TRACEPARENT: value}):
        pass
    assert all(span.parent is None for span in spans.finished)


def test_an_unconfigured_process_records_nothing() -> None:
    """Without an exporter every span is the empty one, and headers stay as they are."""
    headers: dict[str, str] = {}
    with telemetry.root_span("command.received"), telemetry.span("event.committed") as span:
        telemetry.inject(headers)
    assert span is INVALID_SPAN
    assert headers == {}


def test_a_parent_elsewhere_beats_the_current_span() -> None:
    """A message delivered while another command is handled belongs to its own trace."""
    headers: dict[str, str] = {}
    with Spans() as spans:
        with telemetry.root_span("command.received"):
            telemetry.inject(headers)
        with telemetry.root_span("command.received"), telemetry.span("event.delivered", headers):
            pass
    first, delivered, second = spans.finished
    assert first.context is not None
    assert delivered.context is not None
    assert second.context is not None
    assert delivered.context.trace_id == first.context.trace_id != second.context.trace_id


def test_an_error_marks_its_span_and_passes() -> None:
    """The span says what kind of error it was, never its text; the caller still gets it."""
    with Spans() as spans, pytest.raises(Forbidden), telemetry.root_span("command.received"):
        raise Forbidden("alice may not")
    (span,) = spans.finished
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "Forbidden")
    assert not span.events


def test_a_missing_exporter_is_a_setting_to_change() -> None:
    """`otlp` without its package names the package instead of failing later."""
    with pytest.raises(Misconfigured, match="opentelemetry-exporter-otlp"):
        telemetry.configure(CommonSettings(trace_exporter="otlp"), "edge")


def test_the_console_exporter_writes_beside_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """`console` shows finished spans on standard error."""
    stop = telemetry.configure(CommonSettings(trace_exporter="console", trace_ratio=1.0), "edge")
    with telemetry.root_span("command.received"):
        pass
    stop()
    out, err = capsys.readouterr()
    assert out == ""
    assert "command.received" in err
