"""Traces: one from a command to what is delivered of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from shared.ids import new_command_id
from tests.support.peer import Peer
from tests.support.services import ServiceProcess
from tests.support.stack import running_stack
from tests.support.waiting import eventually

_SPAN = re.compile(r'"name": "([a-z.]+)",\s+"context": \{\s+"trace_id": "(0x[0-9a-f]+)"')


def traces_of(edge: ServiceProcess, name: str) -> list[str]:
    """The traces in which this edge has recorded a span of this name."""
    return [trace for found, trace in _SPAN.findall(edge.log.read_text()) if found == name]


@pytest.mark.parametrize("age_ms", [0, 3_600_000])
async def test_one_trace_from_command_to_delivery(tmp_path: Path, age_ms: int) -> None:
    """A command, fresh or late, and what every edge delivers of it are one trace; none per recipient."""
    tracing = {"PARLEY_TRACE_EXPORTER": "console", "PARLEY_TRACE_RATIO": "1.0"}
    async with running_stack(tmp_path, edges=2, **tracing) as stack:
        near, far = stack.edges
        async with Peer.opened(stack.url, "ann") as ann, Peer.opened(stack.address(1), "bob") as bob:
            await ann.do("create_channel", kind="public", name="t", channel="traced")
            await bob.do("join", channel="traced")
            id_ = new_command_id(time.time_ns() // 1_000_000 - age_ms)
            ack = await ann.do("send", id=id_, channel="traced", text="x")
            await bob.event("traced", ack["seq"])
        await eventually(lambda: len(traces_of(far, "edge.deliver")) >= 2)
        sent = traces_of(near, "command.send")
        assert len(sent) == 1
        assert traces_of(far, "edge.deliver").count(sent[0]) == 1
        assert traces_of(near, "edge.deliver").count(sent[0]) == 1
