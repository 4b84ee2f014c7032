"""Questions hear their answer or the end of their time, once, and leave nothing behind."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from shared.envelope import Message
from shared.questions import Questions
from tests.support.waiting import eventually

ANSWER = Message("inbox.1", b"yes", {}, "")


async def test_an_answer_is_told_at_once_and_once() -> None:
    """Whoever asked hears it before `answer` returns; a second answer finds nobody."""
    questions, heard = Questions(), list[Message | None]()
    questions.ask("1", 30.0, heard.append)
    assert questions.answer("1", ANSWER)
    assert heard == [ANSWER]
    assert not questions.answer("1", ANSWER)
    assert not len(questions)


async def test_who_is_not_answered_hears_none_in_the_order_of_asking() -> None:
    """Silence is told to each whose time is over, not before its time, and to nobody who was answered."""
    questions, heard = Questions(), list[str]()
    loop = asyncio.get_running_loop()
    began_s, over_s = loop.time(), dict[str, float]()

    def then(token: str, answer: Message | None) -> None:
        heard.append(token if answer is None else f"{token} answered")
        over_s[token] = loop.time() - began_s

    for token, timeout_s in (("a", 0.05), ("b", 0.05), ("c", 0.01), ("d", 0.05)):
        questions.ask(token, timeout_s, partial(then, token))
    assert questions.answer("b", ANSWER)
    await eventually(lambda: len(heard) == 4)
    assert heard == ["b answered", "c", "a", "d"]
    assert over_s["a"] > 0.045
    assert over_s["c"] > 0.005
    assert not questions.answer("a", ANSWER), "it came too late"


async def test_the_timer_goes_on_for_those_who_asked_later() -> None:
    """Also for one who asked while the others were told, and anew when nobody had been waiting any more."""
    questions, heard = Questions(), list[str]()

    def early(_: Message | None) -> None:
        heard.append("early")
        questions.ask("late", 0.02, lambda _: heard.append("late"))

    questions.ask("early", 0.02, early)
    asyncio.get_running_loop().call_later(
        0.01, questions.ask, "between", 0.02, lambda _: heard.append("between")
    )
    await eventually(lambda: len(heard) == 3)
    questions.ask("again", 0.02, lambda _: heard.append("again"))
    await eventually(lambda: len(heard) == 4)
    assert sorted(heard) == ["again", "between", "early", "late"]
    assert not questions._due


async def test_one_who_fails_leaves_the_others_theirs() -> None:
    """Those whose time is over in the same moment hear of it all the same."""
    questions, heard = Questions(), list[Message | None]()

    def fails(_: Message | None) -> None:
        raise RuntimeError("a bug")

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    questions.ask("1", 0.01, fails)
    questions.ask("2", 0.01, heard.append)
    await eventually(lambda: heard == [None])
    questions.ask("3", 30.0, fails)
    with pytest.raises(RuntimeError):
        questions.answer("3", ANSWER)
    assert not len(questions)
