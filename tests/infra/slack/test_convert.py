"""A channel of an export becomes the same commands every time, and what is left out is counted (AT-55)."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from infra.slack.convert import convert
from infra.slack.export import Conversation, Record
from infra.slack.tally import Tally
from shared.events import ChannelKind
from shared.ids import command_id, command_time_ms
from tests.support.slack import CHANNEL, NOW_US, converted, message, orders


def test_message_keeps_author_and_time() -> None:
    """The id carries Slack's time, so that the server takes the late path; author and time are Slack's."""
    (order,) = orders(message("1452837352.000006"))
    assert (order.kind, order.fields["text"], order.creates) == ("send", "hi", "1452837352.000006")
    assert order.origin.at == "2016-01-15T05:55:52.000Z"
    assert command_time_ms(command_id(order.id)) == 1452837352000


def test_second_conversion_is_the_same() -> None:
    """Twice the same export: the same orders with the same ids (AT-54)."""
    records = [message("2.0", reactions=[{"name": "ok", "users": ["U2"], "count": 1}]), message("1.0")]
    assert converted(*records)[0] == converted(*records)[0]


def test_every_order_has_an_id_of_its_own() -> None:
    """Edits, reactions and messages of one time and author do not share ids."""
    reactions = [{"name": n, "users": ["U1", "U2"], "count": 2} for n in ("ok", "no")]
    edited = {"user": "U1", "ts": "3.0"}
    found = [
        o.id for o in converted(message("2.0", reactions=reactions, edited=edited), message("3.0"))[0].orders
    ]
    assert len(found) == len(set(found)) == 8


def test_order_is_by_time_not_by_file() -> None:
    """Records are sorted by `ts` as a number."""
    assert [o.creates for o in orders(message("10.5"), message("9.7"), message("10.25"))] == [
        "9.7",
        "10.25",
        "10.5",
    ]


def test_edit_marks_the_message() -> None:
    """Only the last text is in an export; that it was edited, and when, is kept."""
    _, edit = orders(message("2.0", edited={"user": "U1", "ts": "5.0"}))
    assert (edit.kind, edit.ref, edit.fields["text"]) == ("edit", "2.0", "hi")
    assert edit.origin.at == "1970-01-01T00:00:05.000Z"


def test_reactions_are_their_users() -> None:
    """Each named user reacts; those that are counted but not named are counted as left out."""
    conversion, tally = converted(
        message("2.0", reactions=[{"name": "tada", "users": ["U1", "U2"], "count": 3}])
    )
    reactions = [o for o in conversion.orders if o.kind == "react"]
    assert [(o.origin.author, o.fields["emoji"], o.ref) for o in reactions] == [
        ("U1", "tada", "2.0"),
        ("U2", "tada", "2.0"),
    ]
    assert tally.omitted == {"reaction whose user is not named": 1}
    assert not tally.skipped


def test_threads() -> None:
    """A reply names its root; those to a root that is missing answer the first of them."""
    conversion, tally = converted(
        message("1.0", thread_ts="1.0"),
        message("2.0", thread_ts="1.0"),
        message("3.0", thread_ts="1.0", subtype="thread_broadcast"),
        message("4.0", thread_ts="0.5"),
        message("5.0", thread_ts="0.5"),
        message("6.0", thread_ts="9.0"),
    )
    sends = [o for o in conversion.orders if o.kind == "send"]
    assert [o.thread for o in sends] == [None, "1.0", "1.0", None, "4.0", None]
    assert tally.altered == {"reply whose root is missing: the first of them begins the thread": 3}
    assert not tally.skipped


def test_bots_and_unknown_users_are_authors() -> None:
    """USLACKBOT, a bot without a user, a user that `users.json` does not know: all are imported."""
    found = orders(
        message("1.0", user="USLACKBOT"),
        {"type": "message", "subtype": "bot_message", "bot_id": "B1", "ts": "2.0", "text": "beep"},
        {"type": "message", "subtype": "bot_message", "username": "hook", "ts": "3.0", "text": "beep"},
        message("4.0", user="UNKNOWN"),
        {"type": "message", "subtype": "file_comment", "ts": "5.0", "text": "x", "comment": {"user": "U9"}},
    )
    assert [o.origin.author for o in found] == ["USLACKBOT", "B1", "hook", "UNKNOWN", "U9"]


def test_text_of_attachments_and_files() -> None:
    """A bot says it in attachments, a file has a title: better than nothing."""
    found = orders(
        message("1.0", text="", attachments=[{"fallback": "build passed"}, {"text": "in 3 s"}]),
        message("2.0", text="", files=[{"title": "plan.pdf"}]),
    )
    assert [o.fields["text"] for o in found] == ["build passed\nin 3 s", "plan.pdf"]


def test_changes_and_deletions_of_full_exports() -> None:
    """`message_changed` and `message_deleted` refer to the message that they are about."""
    found = orders(
        message("1.0"),
        message("2.0", subtype="message_changed", message={"ts": "1.0", "user": "U1", "text": "new"}),
        message("3.0", subtype="message_deleted", deleted_ts="1.0"),
    )
    assert [(o.kind, o.ref) for o in found[1:]] == [("edit", "1.0"), ("delete", "1.0")]


def test_everything_left_out_has_a_reason() -> None:
    """No ts, a bad ts, a double ts, no author, no text, a tombstone, no message: counted, one by one."""
    _, tally = converted(
        {"type": "message", "text": "x", "user": "U1"},
        message("yesterday"),
        message("1.0"),
        message("1.0"),
        {"type": "message", "ts": "2.0", "text": "x"},
        message("3.0", text=""),
        message("4.0", subtype="message_replied"),
        message("4.5", hidden=True),
        {"type": "huddle", "ts": "5.0"},
        message("6.0", subtype="message_deleted", deleted_ts="0.1"),
        message("7.0", subtype="channel_join", user=None),
    )
    assert tally.skipped == {
        "record without a usable ts": 2,
        "message without an author": 1,
        "message without any text": 1,
        "record of the kind message_replied": 1,
        "record of the kind hidden": 1,
        "record that is no message": 1,
        "deletion of a message that is missing": 1,
        "join or leave without a user": 1,
    }
    assert tally.merged == {"copy of a message that its channel has already": 1}


def test_bad_text_is_mended_and_counted() -> None:
    """NUL and lone surrogates are replaced, a text above the limit is cut (AT-80)."""
    conversion, tally = converted(message("1.0", text="a\x00\ud800b"), message("2.0", text="é" * 20_000))
    texts = [str(o.fields["text"]) for o in conversion.orders if o.kind == "send"]
    assert "\x00" not in texts[0]
    assert texts[0].encode().startswith(b"a")
    assert len(texts[1].encode()) <= 16_384
    assert sum(tally.altered.values()) == 2


def test_a_tombstone_holds_its_thread_together() -> None:
    """It becomes a message that is deleted at once; the replies answer it."""
    conversion, tally = converted(
        message("1.0", subtype="tombstone", user="USLACKBOT", text="This message was deleted.", hidden=True),
        message("2.0", thread_ts="1.0"),
    )
    found = [(o.kind, o.ref, o.thread) for o in conversion.orders if o.kind != "invite"]
    assert found == [("send", None, None), ("delete", "1.0", None), ("send", None, "1.0")]
    assert not tally.altered


def test_later_copies_are_edits() -> None:
    """The first text is posted, each copy that was edited later changes it; reactions are the fullest."""
    conversion, tally = converted(
        message("2.0", text="final", edited={"ts": "9.0"}, reactions=[]),
        message("2.0", text="first", reactions=[{"name": "ok", "users": ["U1"], "count": 1}]),
        message("2.0", text="second", edited={"ts": "5.0"}),
    )
    found = [(o.kind, o.fields.get("text"), o.origin.at[17:19]) for o in conversion.orders[1:]]
    assert found == [
        ("send", "first", "02"),
        ("edit", "second", "05"),
        ("edit", "final", "09"),
        ("react", None, "02"),
    ]
    assert tally.merged == {"copy of a message that its channel has already": 2}


def test_an_empty_message_of_a_person_is_one() -> None:
    """A client has sent it; replies to it stay where they are."""
    found = orders(message("1.0", text="", client_msg_id="x"), message("2.0", thread_ts="1.0"))
    assert [(o.fields["text"], o.thread) for o in found] == [("", None), ("hi", "1.0")]


def test_an_edit_without_a_time_is_counted() -> None:
    """The text is right all the same."""
    conversion, tally = converted(message("1.0", text="new", edited={"user": "U1"}))
    assert [o.fields["text"] for o in conversion.orders[1:]] == ["new"]
    assert tally.omitted == {"edit without a usable ts": 1}


def test_pins() -> None:
    """They follow their message; one of something else is counted."""
    pins = [{"id": "1.0", "user": "U2"}, {"id": "1.5"}, "x", {"user": "U1"}]
    conversion, tally = converted(message("1.0"), channel={**CHANNEL, "pins": pins})
    assert [(o.kind, o.ref, o.origin.author) for o in conversion.orders[2:]] == [("pin", "1.0", "U2")]
    assert tally.omitted == {"pin of something that is no message here": 1}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["1.0", "U1", "tombstone"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    *("type", "subtype", "ts", "user", "bot_id", "username", "text", "thread_ts", "reactions", "edited"),
    *(
        "files",
        "file",
        "attachments",
        "comment",
        "message",
        "deleted_ts",
        "hidden",
        "topic",
        "purpose",
        "name",
    ),
    *("id", "created", "creator", "members", "is_archived"),
]
SUBTYPES = ["tombstone", "message_changed", "message_deleted", "channel_join", "channel_topic", "bot_message"]
likely = st.fixed_dictionaries(
    {"ts": st.sampled_from(["1.0", "2.0", "3.000001"]), "user": st.sampled_from(["U1", "U2"])},
    optional={
        "text": st.sampled_from(["a", "b", ""]),
        "subtype": st.sampled_from(SUBTYPES),
        "thread_ts": st.sampled_from(["1.0", "2.0", "9.0"]),
        "deleted_ts": st.sampled_from(["1.0", "2.0"]),
        "message": st.fixed_dictionaries({"ts": st.just("1.0"), "user": st.just("U1"), "text": st.just("x")}),
        "edited": st.fixed_dictionaries({"ts": st.sampled_from(["4.0", "5.0", "x"])}),
        "reactions": st.just([{"name": "ok", "users": ["U1", "U1", None], "count": 10**30}]),
    },
)
hostile = likely | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=10)


@given(st.lists(hostile, max_size=6), hostile, st.sampled_from(["public", "private", "direct"]))
def test_nothing_aborts(records: list[Record], channel: Record, kind: ChannelKind) -> None:
    """Whatever stands in the fields: every record is an order, a copy or counted with its reason, and every
    order can be written as JSON."""
    tally = Tally(records=len(records))
    conversion = convert(Conversation(kind, "x", channel), records, "acme", tally, NOW_US)
    tally.recorded = sum(order.counts for order in conversion.orders)
    assert tally.balanced
    ids = [order.id for order in (conversion.create, *conversion.orders)]
    assert len(ids) == len(set(ids))
    made: set[str | None] = {None}
    for order in conversion.orders:
        json.dumps(dict(order.fields)).encode()
        assert command_id(order.id)
        assert {order.ref, order.thread} <= made, "an order needs a message that comes before it"
        made.add(order.creates)
