"""Queries in sandboxes for tests, and an archive with something to steal in it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from archiver.sandbox import Sandbox
from archiver.sandbox_child import Job
from archiver.settings import ArchiverSettings
from shared import events as e
from shared.archive_files import pin
from shared.archive_store import Archive, LocalStore, Store, open_store
from shared.events import KnownEvent, encode
from shared.ids import ChannelId, ChannelKey, Seq, UserId, WorkspaceId
from tests.support.events import example
from tests.support.sql_rows import write_archive

ACME = WorkspaceId("acme")
SECRET = "SECRET"
TEA = ChannelKey(ACME, ChannelId("tea"))
PRIVATE = ChannelKey(ACME, ChannelId("p_SECRET"))
ELSEWHERE = ChannelKey(WorkspaceId("other"), ChannelId("tea"))
START_US = 1_767_225_600_000_000


def steal_from(directory: Path) -> Path:
    """An archive: Alice may read `tea`. What she may not read has SECRET in it, names and ids included."""
    write_archive(directory, ((key, event, START_US + n * 10**9) for n, (key, event) in enumerate(_told())))
    return directory


def _told() -> Iterable[tuple[ChannelKey, KnownEvent | bytes]]:
    yield TEA, example(e.ChannelCreated, name="tea", members=(UserId("bob"),))
    yield TEA, example(e.MessagePosted, text="17")
    yield TEA, example(e.MessagePosted, text="18", author="bob", thread=Seq(2))
    yield TEA, example(e.ReactionAdded, author="bob", ref=Seq(2), emoji="x")
    yield TEA, example(e.MessagePosted, text=SECRET, author="mallory")  # void: no member
    yield TEA, example(e.MessagePosted, text=SECRET)
    edit = example(e.MessageEdited, ref=Seq(6), text=SECRET)
    yield TEA, encode(edit).replace(b":", b": ")  # as another encoder writes it
    yield TEA, example(e.MessageErased, ref=Seq(6))
    yield TEA, example(e.MemberJoined, author="cleo")
    yield TEA, example(e.MessagePosted, text=SECRET, author="cleo")
    yield TEA, example(e.UserErased, user="cleo")
    yield TEA, example(e.MessagePosted, text="19", author="cleo")
    for key, kind in ((PRIVATE, "private"), (ELSEWHERE, "public")):
        yield key, example(e.ChannelCreated, author=SECRET, channel_kind=kind, name=SECRET, topic=SECRET)
        yield key, example(e.MessagePosted, author=SECRET, text=SECRET)
        yield key, example(e.MessageEdited, author=SECRET, ref_author=SECRET, ref=Seq(2), text=SECRET * 2)
        yield key, example(e.ReactionAdded, author=SECRET, ref=Seq(2), emoji=SECRET)
        yield key, example(e.MemberInvited, author=SECRET, user=SECRET + "2")


def uploaded(directory: Path, bucket: Store) -> Store:
    """The same archive in a bucket."""
    for name in names(LocalStore(directory)):
        bucket.create(name, (directory / name).read_bytes())
    return bucket


def names(store: Store) -> list[str]:
    """Every file of such an archive but its cache."""
    folders = ("p00/manifest", "p00/data")
    return ["archive.sql", "schema.parquet"] + [
        f"{one}/{name}" for one in folders for name in store.names(one)
    ]


def job_for(archive: Archive, query: str, form: str = "json") -> Job:
    """Alice's query."""
    pinned = pin(archive)
    return {
        "query": query,
        "format": form,
        "workspace": ACME,
        "channels": ["tea"],
        "files": pinned.files,
        "sizes": list(pinned.sizes.values()),
        "output_bytes": 10_000_000,
    }


@contextlib.asynccontextmanager
async def sandbox(archive: Archive, **settings: object) -> AsyncIterator[Sandbox]:
    """A sandbox over an archive."""
    store = open_store(archive)
    wanted = {"archive": store.location, **settings}
    opened = Sandbox(ArchiverSettings.model_validate(wanted), store)
    try:
        yield opened
    finally:
        await opened.close()


async def answer(sandbox: Sandbox, job: Job) -> bytes:
    """A whole result. Raises what the sandbox says."""
    child = await sandbox.take()
    try:
        child.ask(job)
        result = b""
        while (frame := await child.frame()).kind == b"D":
            result += frame.body
        return result
    finally:
        await child.kill()
