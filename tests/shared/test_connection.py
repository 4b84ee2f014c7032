"""The connection's own reading of headers: the same as nats-py's, and in use."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client

from shared.bus import Bus, Message
from shared.connection import _Client

_names = st.text(st.sampled_from("aZ9-_ \t:é\x00\x1c"), max_size=8)
_values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)
_lines = st.tuples(_names, st.sampled_from([":", ": ", ""]), _values).map("".join)


@given(st.lists(_lines, max_size=6))
@example(
    ["Nats-Msg-Id: c/u/1", "Nats-Sequence: 7", "no colon", "two words: x", "é: x", "a:b:c", "x:\xa0y\xa0"]
)
def test_headers_read_as_nats_py_reads_them(lines: list[str]) -> None:
    """Names of one ASCII word and their values; a line without a name is nobody's header."""
    raw = "\r\n".join([*lines, "", ""]).encode()
    theirs = {name: value for name, value in Client._parse_header_lines(raw).items() if name}
    assert _Client._parse_header_lines(raw) == theirs


def test_bytes_that_are_no_utf8_do_not_stop_a_reader() -> None:
    """They become U+FFFD in a value."""
    assert _Client._parse_header_lines(b"a: \xff!\r\n") == {"a": "\ufffd!"}


def test_nats_py_still_asks_this_method() -> None:
    """The pinned version calls `self._parse_header_lines` when no other header parser is installed."""
    assert "self._parse_header_lines(" in inspect.getsource(Client._process_headers)


async def test_headers_arrive(bus: Bus) -> None:
    """What is sent with a message is there when it arrives, and a 503 is still seen as such."""
    arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await bus.subscribe("headers.test", arrived.set_result)
    await bus.publish("headers.test", b"x", headers={"One": "1", "Zwei": "größer: 2"})
    async with asyncio.timeout(5):
        assert (await arrived).headers == {"One": "1", "Zwei": "größer: 2"}
    with pytest.raises(Exception, match="nobody serves"):
        await bus.request("nobody.here", b"", timeout_s=1)
