"""The nginx of the operators, `infra/nginx.conf`, in front of the edges of a test."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from infra.local.lifeline import die_with_parent, port_is_free
from tests.support.ports import own_port
from tests.support.waiting import eventually

CONF = Path(__file__).parents[2] / "infra" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx here: install the package nginx")

STOP_DEADLINE_S = 30.0


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def adapted(conf: str, listen: int, edges: Sequence[int], read_timeout_s: int) -> str:
    """The file with other addresses and another read time-out, and with its files in a folder of the test."""
    servers = "\n".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in edges)
    temporary = "\n".join(f"{kind}_temp_path {kind};" for kind in _TEMPORARY)
    text = conf
    for pattern, replacement in (
        (r"^worker_rlimit_nofile .*$", ""),
        (r"worker_connections \d+;", "worker_connections 64;"),
        (r"worker_processes auto;", "worker_processes 1;"),
        (r"listen 80;", f"listen 127.0.0.1:{listen};"),
        (r"proxy_read_timeout 30s;", f"proxy_read_timeout {read_timeout_s}s;"),
        (r"^http {$", f"http {{\n{temporary}"),
        (r"(^ *server 127\.0\.0\.1:\d+ max_fails=1 fail_timeout=2s;\n)+", f"{servers}\n"),
    ):
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    return text


@contextlib.asynccontextmanager
async def running_nginx(folder: Path, edges: Sequence[int], *, read_timeout_s: int) -> AsyncIterator[str]:
    """nginx in front of edges on these ports; yields its address."""
    folder.mkdir()
    folder.chmod(0o755)
    port = own_port()
    conf, errors = folder / "nginx.conf", folder / "errors"
    conf.write_text(adapted(CONF.read_text(), port, edges, read_timeout_s))
    process = _spawn(folder, conf, errors)
    try:
        await eventually(lambda: process.poll() is not None or not port_is_free(port))
        assert process.poll() is None, errors.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE_S)


def _spawn(folder: Path, conf: Path, errors: Path) -> subprocess.Popen[bytes]:
    assert NGINX is not None
    globals_ = f"daemon off; pid {folder}/pid; error_log stderr;"
    with errors.open("wb") as said:
        return subprocess.Popen(
            [NGINX, "-p", str(folder), "-c", str(conf), "-g", globals_],
            stdout=said,
            stderr=said,
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509  # one system call
        )
