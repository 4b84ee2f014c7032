"""Retention as an operator sets it, in a system that runs: what is older is gone, and it is proven."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.tokens import mint
from shared.bus import Bus
from shared.client import Client, Origin
from shared.errors import Forbidden
from shared.ids import UserId, WorkspaceId
from tests.support.erased import forgetful, gone
from tests.support.local_system import LocalSystem
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(900)]

PARTITIONS = 2
OLD = Origin("ann", "2019-03-01T12:00:00Z")
SECRET = "Xsecret"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LocalSystem]:
    """A running system that writes Parquet at once and looks at retention all the time."""
    started = LocalSystem(
        tmp_path,
        *("--partitions", str(PARTITIONS), "--durability", "process"),
        *("--env.PARLEY_FLUSH_INTERVAL_S", "0.5", "--env.PARLEY_ERASED_GRACE_S", "2"),
        *("--env.PARLEY_RETENTION_EVERY_S", "0.5"),
    )
    started.start()
    yield started
    started.stop()


def client_of(system: LocalSystem, user: str, *scopes: str) -> Client:
    """Somebody with these scopes."""
    run = system.run()
    assert run is not None
    token = mint(system.data.credentials().jwt, UserId(user), workspace=WorkspaceId("demo"), scopes=scopes)
    return Client([url.replace("http", "ws") + "/v1/ws" for url in run.edges], token, name=user)


def told(system: LocalSystem, *words: str) -> str:
    """What a command says."""
    return system.parley(*words).stdout


async def test_what_is_older_is_gone(system: LocalSystem) -> None:
    """Pages, search, SQL, exports, the log and every byte below the data folder; what is young stays."""
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.connect(system.data.operator_settings(), "test"))
        await forgetful(bus, PARTITIONS)
        ann = await stack.enter_async_context(client_of(system, "ann", "import"))
        bob = await stack.enter_async_context(client_of(system, "bob"))
        await ann.create_channel("public", "tea", channel="tea")
        await bob.join("tea")
        old = [await ann.send("tea", f"{SECRET} {number}", origin=OLD) for number in range(20)]
        await ann.command("edit", "tea", ref=old[3].seq, text=f"{SECRET} edited", origin=OLD)
        young = await bob.send("tea", "still young")
        with pytest.raises(Forbidden):
            await bob.set_retention("tea", 30)
        said = told(system, "retention", "tea", "--days", "30")
        assert said.startswith("tea keeps messages for 30 days: event #")
        await eventually(
            lambda: SECRET not in told(system, "history", "tea", "--json"), within_s=180, every_s=1.0
        )
        page = [json.loads(line) for line in told(system, "history", "tea", "--json").splitlines()]
        assert [one for one in page if one.get("text")] == [one for one in page if one["seq"] == young.seq]
        assert any(one["kind"] == "messages.expired" for one in page)
        assert told(system, "search", SECRET, "--user", "bob").splitlines() == ["0 messages"]
        assert "1 message" in told(system, "search", "young", "--user", "bob")
        rows = told(system, "sql", "SELECT text FROM messages WHERE channel = 'tea'", "--format", "csv")
        assert rows.split() == ["text", "still", "young"]
        export = system.data.path.parent / "tea.jsonl"
        await asyncio.to_thread(told, system, "export", "tea", "--to", str(export))
        assert SECRET not in export.read_text()
        export.unlink()
        await gone(system, bus, PARTITIONS, SECRET)
        assert "✓ nothing differs" in told(system, "verify")
        assert told(system, "retention", "tea", "--for-ever").startswith(
            "tea keeps messages for ever: event #"
        )


def test_bad_orders(system: LocalSystem) -> None:
    """Neither too much nor too little is named."""
    for words, says in (
        (("tea",), "one of them"),
        (("tea", "--days", "30", "--for-ever"), "one of them"),
        (("tea", "--days", "0"), "1 to 36500"),
        (("nowhere", "--days", "30"), "not_found"),
    ):
        done = system.parley("retention", *words, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert says in " ".join(done.stderr.split())
