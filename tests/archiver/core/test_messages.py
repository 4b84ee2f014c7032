"""Messages of hot events alone: folded by the index of what is said about each."""

from __future__ import annotations

import random

import pytest

from archiver.core.hot_messages import HotMessages
from archiver.core.messages import EMOJIS_MAX, REACTIONS_BYTES_MAX, USERS_MAX, Past, Told, fold
from shared import events as e
from shared.events import encode
from shared.ids import Seq, UserId, new_command_id
from tests.support.archive import created, hot_of, key_of, posted
from tests.support.events import NOW_MS
from tests.support.naive_messages import folded, random_events

TEA = key_of("tea")


@pytest.mark.parametrize("seed", range(20))
def test_hot_messages_equal_a_fold(seed: int) -> None:
    """Whatever is said, also by who may not, of what is none or comes later."""
    events = random_events(random.Random(seed), 200)
    hot = hot_of(0, {TEA: [encode(event) for event in events]})
    truth = folded([one.recorded for one in hot.between(TEA, Seq(1), Seq(200))])
    messages = hot.messages(TEA)
    seqs = messages.below(201, 200)
    assert seqs == sorted(truth) == messages.above(0, 200)
    told = fold(seqs, Past(), messages.later(seqs))
    for seq, message in truth.items():
        reactions = message.reactions, message.more_reactions
        assert told[seq] == Told(message.edited, message.deleted, *reactions, message.replies)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_committed_is_forgotten(seed: int) -> None:
    """After a part is dropped, the index is that of the rest alone."""
    events = random_events(random.Random(seed), 200)
    hot = hot_of(0, {TEA: [encode(event) for event in events]})
    found = hot.between(TEA, Seq(1), Seq(200))
    for dropped in (0, 1, 57, 199, 200):
        whole, rest = HotMessages(), HotMessages()
        for one in found:
            whole.add(one)
        whole.drop(found[:dropped])
        for one in found[dropped:]:
            rest.add(one)
        seqs = [Seq(seq) for seq in range(1, 201)]
        assert whole.below(201, 200) == rest.below(201, 200)
        assert whole.later(seqs) == rest.later(seqs)


def test_reactions_are_bounded() -> None:
    """Exact counts; of emojis, of users and of bytes only so many."""
    events: list[e.KnownEvent] = [created(), posted("x")]
    for number in range(EMOJIS_MAX + 1):
        events += [_reaction(f"user {user} {'é' * 50}", f"e{number}") for user in range(number % 3 + 1)]
    events += [_reaction(f"crowd {user:03}", "often") for user in range(USERS_MAX + 50)]
    hot = hot_of(0, {TEA: [encode(event) for event in events]})
    told = fold([Seq(2)], Past(), hot.messages(TEA).later([Seq(2)]))[Seq(2)]
    assert told.more_reactions
    assert len(told.reactions) == EMOJIS_MAX
    first = told.reactions[0]
    assert (first.emoji, first.count, len(first.users)) == ("often", USERS_MAX + 50, USERS_MAX)
    many = [_reaction(f"{user:064}", f"e{number}") for number in range(EMOJIS_MAX) for user in range(90)]
    hot = hot_of(0, {TEA: [encode(event) for event in (created(), posted("x"), *many)]})
    told = fold([Seq(2)], Past(), hot.messages(TEA).later([Seq(2)]))[Seq(2)]
    assert [one.count for one in told.reactions] == [90] * EMOJIS_MAX
    names = sum(len(user) for one in told.reactions for user in one.users)
    assert REACTIONS_BYTES_MAX * 0.9 < names <= REACTIONS_BYTES_MAX


def _reaction(user: str, emoji: str) -> e.ReactionAdded:
    imported = e.Imported(by=UserId("importer"), at="2020-01-01T00:00:00Z")
    return e.ReactionAdded(
        id=new_command_id(NOW_MS), author=UserId(user), imported=imported, ref=Seq(2), emoji=emoji
    )
