"""Secrets: made once, at random, for their owner only."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.credentials import load, load_or_create
from infra.nats.permissions import READER, USERS
from shared.errors import Misconfigured


def test_they_are_made_once(tmp_path: Path) -> None:
    """The second start finds the first one's secrets, so that tokens and stores stay valid."""
    path = tmp_path / "new" / "credentials.json"
    assert load_or_create(path) == load_or_create(path)


def test_every_user_has_a_password_of_its_own(tmp_path: Path) -> None:
    """No secret is used twice, here or in another installation."""
    first, second = load_or_create(tmp_path / "a.json"), load_or_create(tmp_path / "b.json")
    every = [
        *first.nats.values(),
        first.cluster,
        first.jwt,
        *second.nats.values(),
        second.cluster,
        second.jwt,
    ]
    assert len(set(every)) == 2 * (len(USERS) + 2)
    assert all(len(secret) >= 32 for secret in every)


def test_a_user_that_came_later_gets_a_password(tmp_path: Path) -> None:
    """An installation that is older than a service goes on with the secrets that it has."""
    path = tmp_path / "credentials.json"
    first = load_or_create(path)
    older = {user: password for user, password in first.nats.items() if user != READER}
    path.write_text(first.model_copy(update={"nats": older}).model_dump_json())
    again = load_or_create(path)
    assert set(again.nats) == set(USERS)
    assert again == first.model_copy(update={"nats": older | {READER: again.nats[READER]}})
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path) == again


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600; a file that others may read is refused with the command that mends it."""
    path = tmp_path / "credentials.json"
    load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load(path)


def test_missing_ones_are_not_made_by_readers(tmp_path: Path) -> None:
    """A command run in the wrong directory says so and leaves nothing there."""
    with pytest.raises(Misconfigured, match="parley up"):
        load(tmp_path / "credentials.json")
    assert not list(tmp_path.iterdir())


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """They do not stand in a traceback or a log line."""
    credentials = load_or_create(tmp_path / "credentials.json")
    assert credentials.jwt not in repr(credentials)
