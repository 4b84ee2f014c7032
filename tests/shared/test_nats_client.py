"""What is cheaper than nats-py's does the same, and the pinned version still asks for it."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

from shared.bus import Bus, Message
from shared.nats_client import NatsClient

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
    assert NatsClient._parse_header_lines(raw) == theirs


def test_bytes_that_are_no_utf8_do_not_stop_a_reader() -> None:
    """They become U+FFFD in a value."""
    assert NatsClient._parse_header_lines(b"a: \xff!\r\n") == {"a": "\ufffd!"}


def test_nats_py_still_asks_for_these_methods() -> None:
    """The pinned version reads headers and hands over messages through what is overridden."""
    assert "self._parse_header_lines(" in inspect.getsource(Client._process_headers)
    assert "self.nc._process_msg(" in inspect.getsource(Parser.parse)
    assert list(inspect.signature(Client._process_msg).parameters) == list(
        inspect.signature(NatsClient._process_msg).parameters
    )


async def test_headers_arrive(bus: Bus) -> None:
    """What is sent with a message is there when it arrives, and a 503 is still seen as such."""
    arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await bus.subscribe("headers.test", arrived.set_result)
    await bus.publish("headers.test", b"x", headers={"One": "1", "Zwei": "größer: 2"})
    async with asyncio.timeout(5):
        assert (await arrived).headers == {"One": "1", "Zwei": "größer: 2"}
    with pytest.raises(Exception, match="nobody serves"):
        await bus.request("nobody.here", b"", timeout_s=1)


async def test_messages_of_all_subscriptions_come_in_the_order_of_the_wire(bus: Bus) -> None:
    """A connection has one order, also between two subscriptions; an error in one callback stops nothing."""
    seen: list[str] = []
    done = asyncio.Event()

    def note(message: Message) -> None:
        seen.append(message.subject)
        if message.subject == "order.end":
            done.set()
        if message.body == b"7":
            raise RuntimeError("a bug in a callback")

    for subject in ("order.a", "order.b", "order.end"):
        await bus.subscribe(subject, note)
    sent = [f"order.{'ab'[number % 3 % 2]}" for number in range(300)]
    for number, subject in enumerate(sent):
        await bus.publish(subject, str(number).encode())
    await bus.publish("order.end", b"")
    async with asyncio.timeout(5):
        await done.wait()
    assert seen == [*sent, "order.end"]
