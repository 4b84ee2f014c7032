"""How old a message is, and the moment from which on messages are kept."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from shared import events as e
from shared.clock import parse_rfc3339, rfc3339
from shared.events import Recorded
from shared.ids import Seq, StreamSeq, UserId
from shared.retention import cut_us, said_us
from tests.support.archive import key_of, posted

NOW = "2026-11-27T15:30:00.000Z"


@pytest.mark.parametrize(
    ("now", "days", "cut"),
    [
        (NOW, 1, "2026-11-26T00:00:00.000Z"),
        (NOW, 30, "2026-10-28T00:00:00.000Z"),
        ("2026-11-27T00:00:00.000Z", 1, "2026-11-26T00:00:00.000Z"),
        ("2026-11-26T23:59:59.999Z", 1, "2026-11-25T00:00:00.000Z"),
        (NOW, 36_500, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_days_are_whole_ones_of_utc(now: str, days: int, cut: str) -> None:
    """Nothing goes before it has been there for so many days, and all of a day goes together."""
    assert rfc3339(cut_us(parse_rfc3339(now), days)) == cut


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        (None, NOW),
        ("2019-01-01T00:00:00.000Z", "2019-01-01T00:00:00.000Z"),
        ("2031-01-01T00:00:00.000Z", NOW),
        ("some day", NOW),
    ],
)
def test_an_import_is_as_old_as_it_really_is(happened: str | None, said: str) -> None:
    """But never younger than the log says: a time in the future would keep it for ever."""
    event = posted("x")
    if happened is not None:
        event = replace(event, imported=e.Imported(by=UserId("tool"), at=happened))
    at = Recorded(key_of("tea"), Seq(1), StreamSeq(1), parse_rfc3339(NOW), event)
    assert rfc3339(said_us(at)) == said
