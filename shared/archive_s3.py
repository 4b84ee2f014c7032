"""An archive in a bucket: written with `PUT If-None-Match: *`, read by DuckDB through httpfs.

A store that creates a name for the first of two writers only is what fencing needs; one that does not know
the condition is refused at the first start. A PUT that was answered late and sent again finds its own object:
so whoever is told that a name is taken compares what stands there with what it wanted to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import resources

import duckdb
import obstore
from obstore import exceptions
from obstore.store import S3Store as Bucket

from shared.archive_store import S3_SCHEME, Entry, Reached, Store
from shared.errors import Misconfigured

REGION_DEFAULT = "us-east-1"
TIMEOUT = timedelta(seconds=30)
RETRY_FOR = timedelta(seconds=20)


class S3Store:
    """Names below a prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str, objects: Bucket, settings: Mapping[str, str]) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._objects = objects
        self._settings = settings

    @classmethod
    def at(cls, location: str, environ: Mapping[str, str]) -> S3Store:
        """The store at `s3://bucket/prefix`. Raises `Misconfigured` without a bucket or with half a key."""
        bucket, _, prefix = location.removeprefix(S3_SCHEME).partition("/")
        if not bucket:
            raise Misconfigured(f"no bucket in {location}: s3://bucket/prefix")
        settings = {
            "key": environ.get("AWS_ACCESS_KEY_ID", ""),
            "secret": environ.get("AWS_SECRET_ACCESS_KEY", ""),
            "token": environ.get("AWS_SESSION_TOKEN", ""),
            "region": environ.get("AWS_REGION", environ.get("AWS_DEFAULT_REGION", REGION_DEFAULT)),
            "endpoint": environ.get("AWS_ENDPOINT_URL_S3", environ.get("AWS_ENDPOINT_URL", "")).rstrip("/"),
        }
        if not (settings["key"] and settings["secret"]):
            raise Misconfigured(f"{location} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        return cls(bucket, prefix.strip("/"), _objects(bucket, settings), settings)

    @property
    def location(self) -> str:
        """The address, without a slash at its end."""
        return f"{S3_SCHEME}{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the prefix."""
        return self._prefix.rpartition("/")[2]

    @property
    def is_far(self) -> bool:
        """Yes."""
        return True

    def within(self, folder: str) -> S3Store:
        """The same bucket, further down."""
        return S3Store(self._bucket, self._path(folder), self._objects, self._settings)

    def make(self, *folders: str) -> None:
        """A bucket has no folders."""

    def names(self, folder: str) -> list[str]:
        """The last parts of their keys."""
        return [entry.name for entry in self.entries(folder)]

    def entries(self, folder: str) -> list[Entry]:
        """With the store's own time of each object."""
        inside = self._path(folder)
        with _translated(folder):
            found = obstore.list_with_delimiter(self._objects, inside + "/")["objects"]
            return [
                Entry(meta["path"].rpartition("/")[2], meta["last_modified"].timestamp())
                for meta in found
                if meta["path"] != inside  # some servers keep an object for a folder that is empty again
            ]

    def folders(self) -> list[str]:
        """The prefixes right below ours."""
        with _translated(self._prefix):
            ours = f"{self._prefix}/" if self._prefix else None
            found = obstore.list_with_delimiter(self._objects, ours)["common_prefixes"]
            return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found)

    def exists(self, name: str) -> bool:
        """One HEAD."""
        try:
            with _translated(name):
                obstore.head(self._objects, self._path(name))
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """One GET."""
        with _translated(name):
            return bytes(obstore.get(self._objects, self._path(name)).bytes())

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """One GET."""
        with _translated(name):
            return bytes(obstore.get_range(self._objects, self._path(name), start=offset, length=length))

    def create(self, name: str, content: bytes, reached: Reached = lambda _: None) -> None:
        """One conditional PUT; the points `…-written` and `…-linked` are before and after it."""
        what = name.rpartition("/")[0].rpartition("/")[2]
        reached(f"{what}-written")
        try:
            with _translated(name):
                obstore.put(self._objects, self._path(name), content, mode="create", use_multipart=False)
        except FileExistsError:
            if self.read(name) != content:  # else it was ours, sent twice
                raise
        reached(f"{what}-linked")

    def replace(self, name: str, content: bytes) -> None:
        """One PUT."""
        with _translated(name):
            obstore.put(self._objects, self._path(name), content, use_multipart=False)

    def copy(self, name: str, target: Store, second: str) -> None:
        """The store copies by itself."""
        assert isinstance(target, S3Store), "an archive is in one store"
        with _translated(name):
            obstore.copy(self._objects, self._path(name), target._path(second))

    def settle(self, *folders: str) -> None:
        """What a PUT has answered is durable."""

    def remove(self, name: str) -> None:
        """One DELETE."""
        with _translated(name):
            obstore.delete(self._objects, self._path(name))

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Load httpfs, keep what was read of footers, and hand over the key in a secret of the connection."""
        extension = resources.files("duckdb_extension_httpfs") / (
            f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension"
        )
        connection.execute(f"LOAD '{_quoted(str(extension))}'")
        connection.execute("SET enable_http_metadata_cache = true")  # safe: no name is ever written twice
        settings = self._settings
        endpoint = settings["endpoint"]
        fields = {"KEY_ID": settings["key"], "SECRET": settings["secret"], "REGION": settings["region"]}
        if settings["token"]:
            fields["SESSION_TOKEN"] = settings["token"]
        if endpoint:
            fields |= {
                "ENDPOINT": endpoint.partition("://")[2],
                "USE_SSL": str(endpoint.startswith("https")).lower(),
                "URL_STYLE": "path",
            }
        said = ", ".join(f"{name} '{_quoted(value)}'" for name, value in fields.items())
        connection.execute(f"CREATE OR REPLACE SECRET parley_archive (TYPE s3, {said})")

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def _objects(bucket: str, settings: Mapping[str, str]) -> Bucket:
    fields: dict[str, object] = {
        "access_key_id": settings["key"],
        "secret_access_key": settings["secret"],
        "region": settings["region"],
        "conditional_put": "etag",
    }
    if settings["token"]:
        fields["session_token"] = settings["token"]
    if settings["endpoint"]:
        fields |= {"endpoint": settings["endpoint"], "virtual_hosted_style_request": False}
    options = {"allow_http": settings["endpoint"].startswith("http://"), "timeout": TIMEOUT}
    retry = {"max_retries": 8, "retry_timeout": RETRY_FOR}
    return Bucket(bucket, client_options=options, retry_config=retry, **fields)  # type: ignore[arg-type]


def _quoted(text: str) -> str:
    return text.replace("'", "''")


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """What a store refuses is an error of the operating system to everybody else."""
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise FileNotFoundError(name) from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise FileExistsError(name) from error
    except exceptions.BaseError as error:
        raise OSError(f"{name}: {error}") from error
