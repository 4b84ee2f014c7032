"""The exchange greets first, answers pings, pairs answers with commands, and repeats after a loss."""

from __future__ import annotations

import orjson
import pytest

from shared.client.exchange import Exchange
from shared.client.outbox import Outbox
from shared.client.session import Session
from shared.client.updates import Ack, ChannelEvent, Online, ReadMoved, Typing
from shared.errors import Forbidden
from shared.ids import ChannelId, Seq


def fresh() -> Exchange:
    return Exchange(Session(), Outbox(), name="test")


def tell(exchange: Exchange, *frames: dict[str, object], now_s: float = 0.0) -> None:
    for frame in frames:
        exchange.receive(orjson.dumps(frame), now_s)


def told(exchange: Exchange, now_s: float = 0.0) -> list[dict[str, object]]:
    return [orjson.loads(body) for body in exchange.outgoing(now_s)]


def welcome(**changes: object) -> dict[str, object]:
    info = {"id": "c", "epoch": "e", "head": 3, "kind": "public", "name": "c"}
    base: dict[str, object] = {
        "type": "welcome",
        "session": "s",
        "node": "n",
        "user": "u",
        "workspace": "w",
        "server_time": "2026-11-25T04:00:00.000Z",
        "expires_at": None,
        "heartbeat_s": 20.0,
        "limits": {"frame_bytes": 1000, "text_bytes": 500, "commands_in_flight": 8, "cursors_per_frame": 500},
        "channels": [info],
        "more": False,
    }
    return base | changes


def event(seq: int) -> dict[str, object]:
    return {"type": "event", "channel": "c", "seq": seq, "kind": "message.posted", "author": "u"}


def opened() -> Exchange:
    exchange = fresh()
    exchange.hello("t")
    tell(exchange, welcome())
    return exchange


def test_nothing_before_welcome() -> None:
    """Only hello is sent before the session is open; it offers batches."""
    exchange = fresh()
    exchange.outbox.add("c", "1", b"{}")
    hello = orjson.loads(exchange.hello("tok"))
    assert (hello["type"], hello["token"], hello["batch"]) == ("hello", "tok", True)
    assert told(exchange) == []
    tell(exchange, welcome())
    assert exchange.open
    assert told(exchange) == [{}]


def test_batches_and_single_frames_are_the_same() -> None:
    """An array of events is its events, in order (P1)."""
    exchange = opened()
    exchange.receive(orjson.dumps([event(4), event(5)]), 0.0)
    tell(exchange, event(6))
    found = [u.seq for u in exchange.session.updates if isinstance(u, ChannelEvent)]
    assert found == [4, 5, 6]


def test_ping_is_answered() -> None:
    """A heartbeat is answered, and its head that is above ours asked for (P8)."""
    exchange = opened()
    tell(exchange, {"type": "ping", "heads": {"c": 9}, "server_time": "2026-11-25T04:00:20.000Z"})
    assert told(exchange) == [
        {"type": "pong"},
        {"type": "resume", "cursors": {"c": {"epoch": "e", "seq": 3}}},
    ]


def test_ack_and_error_find_their_command() -> None:
    """Each answer is paired by id; a final error is an answer too."""
    exchange = opened()
    exchange.outbox.add("c", "1", b"{}")
    exchange.outbox.add("c", "2", b"{}")
    told(exchange)
    ack = {"type": "ack", "id": "1", "channel": "c", "seq": 4, "ts": "t", "duplicate": False}
    tell(exchange, ack, ack, {"type": "error", "id": "2", "code": "forbidden", "message": "no"})
    (first, second) = exchange.answers
    assert first == ("1", Ack("1", ChannelId("c"), Seq(4), "t", duplicate=False))
    assert second[0] == "2"
    assert isinstance(second[1], Forbidden)


@pytest.mark.parametrize("code", ["rate_limited", "unavailable", "unknown"])
def test_later_is_no_answer(code: str) -> None:
    """The three codes that say "later" keep the command, and it goes again under the same id."""
    exchange = opened()
    exchange.outbox.add("c", "1", b'{"id":"1"}')
    told(exchange)
    tell(exchange, {"type": "error", "id": "1", "code": code, "message": "m", "retry_after_ms": 500})
    assert exchange.answers == []
    assert told(exchange, 0.4) == []
    assert exchange.next_at_s() == 0.5
    assert told(exchange, 0.5) == [{"id": "1"}]


def test_reconnect_resends_and_resumes() -> None:
    """After a loss hello carries the cursor, and the outbox begins again after welcome (AT-01, AT-12)."""
    exchange = opened()
    tell(exchange, event(4))
    exchange.outbox.add("c", "1", b'{"id":"1"}')
    told(exchange)
    exchange.lost()
    assert told(exchange) == []
    hello = orjson.loads(exchange.hello("t"))
    assert hello["cursors"] == {"c": {"epoch": "e", "seq": 4}}
    tell(exchange, welcome())
    assert told(exchange) == [{"id": "1"}]


def test_read_mark_is_repeated_until_confirmed() -> None:
    """A read mark that was given offline arrives later, and once confirmed is not repeated (P15)."""
    exchange = fresh()
    exchange.mark_read(ChannelId("c"), Seq(3))
    exchange.hello("t")
    tell(exchange, welcome())
    assert told(exchange) == [{"type": "read", "channel": "c", "seq": 3}]
    tell(exchange, {"type": "read", "channel": "c", "seq": 3, "unread": 0})
    assert ReadMoved(ChannelId("c"), Seq(3), 0) in exchange.session.updates
    exchange.lost()
    exchange.hello("t")
    tell(exchange, welcome())
    assert told(exchange) == []


def test_server_time_is_followed() -> None:
    """Ids are stamped from the server's clock, whatever ours says."""
    exchange = fresh()
    assert exchange.server_ms(5.0) is None
    tell(exchange, welcome(), now_s=100.0)
    assert exchange.server_ms(101.5) == 1_795_579_200_000 + 1500


def test_unknown_types_are_ignored() -> None:
    """A newer server may say more; bytes that are no JSON are an error of the connection (P1)."""
    exchange = opened()
    tell(exchange, {"type": "presence", "x": 1})
    with pytest.raises(ValueError, match=r"."):
        exchange.receive(b"nonsense", 0.0)


def test_other_frames_become_updates() -> None:
    """Typing and the session itself are passed on."""
    exchange = opened()
    tell(exchange, {"type": "typing", "channel": "c", "user": "v"})
    kinds = [type(update) for update in exchange.session.updates]
    assert Online in kinds
    assert Typing in kinds


def test_bye_is_kept_for_the_reconnect() -> None:
    """The advice in `bye` outlives the connection, and the next hello forgets it."""
    exchange = opened()
    tell(
        exchange,
        {"type": "bye", "code": 4000, "reason": "going_away", "resumable": True, "retry_after_ms": 7},
    )
    assert exchange.bye is not None
    assert exchange.bye["retry_after_ms"] == 7
    exchange.hello("t")
    assert exchange.bye is None
