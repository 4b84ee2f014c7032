"""Erasing as an operator types it, in a system that runs; what is found is named, what is gone is proven."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.local_system import LocalSystem

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system: `me` and bob have spoken in `tea`, bob in `go` as well."""
    started = LocalSystem(
        tmp_path_factory.mktemp("data"),
        *("--partitions", "2", "--durability", "process", "--env.PARLEY_FLUSH_INTERVAL_S", "0.5"),
        *("--env.PARLEY_ERASED_GRACE_S", "0"),
    )
    started.start()
    started.parley("send", "tea", "Xsecret of mine", "--create")
    started.parley("send", "tea", "Xsecret of bob", "--user", "bob", "--join")
    started.parley("send", "go", "Xsecret of bob", "--user", "bob", "--create")
    yield started
    started.stop()


def refused(system: LocalSystem, *words: str) -> str:
    """What a command says that must end with 1."""
    done = system.parley(*words, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    return " ".join(done.stderr.split())


def test_bad_orders(system: LocalSystem) -> None:
    """Neither too much nor too little is named, and what is no message is refused."""
    assert "one of them" in refused(system, "erase")
    assert "one of them" in refused(system, "erase", "--message", "tea/2", "--user", "bob")
    assert "CHANNEL/SEQ" in refused(system, "erase", "--message", "tea")
    assert "goes with --user" in refused(system, "erase", "--message", "tea/2", "--channel", "tea")
    assert "not_found" in refused(system, "erase", "--message", "tea/1")
    assert "not_found" in refused(system, "erase", "--message", "nowhere/1")


def test_a_message_and_a_user(system: LocalSystem) -> None:
    """In all channels in which somebody has spoken; pages, search and the archive's files have none of it."""
    said = system.parley("erase", "--message", "tea/2").stdout
    assert said.startswith("erased tea/2: event #5\n")
    assert re.search(r"until \d\d:\d\d:\d\d UTC", said)
    assert "Xsecret of mine" not in system.parley("history", "tea", "--json").stdout
    said = system.parley("erase", "--user", "bob").stdout
    assert said.splitlines()[:2] == ["erased bob in go: event #3", "erased bob in tea: event #6"]
    assert "bob has said nothing" in system.parley("erase", "--user", "bob").stdout
    assert system.parley("search", "Xsecret", "--user", "bob").stdout.splitlines() == ["0 messages"]
    for channel in ("tea", "go"):
        assert "Xsecret" not in system.parley("history", channel, "--json").stdout
    assert "✓ nothing differs" in system.parley("verify").stdout


def test_what_is_left_is_named(system: LocalSystem) -> None:
    """The log is younger than deduplication allows to trim it: it is named, and so is every file with it."""
    done = system.parley("verify", "--erased", "Xsecret of bob", check=False)
    assert done.returncode == 1
    assert "3 erasures name 3 events" in done.stdout
    assert "demo/tea: LOG_" in done.stdout
    found = [line for line in done.stdout.splitlines() if "holds the bytes of 'Xsecret of bob'" in line]
    assert found
    assert all("/jetstream/" in line for line in found), found
