"""The far store of a benchmark: what is sent arrives, what is answered comes back, requests are counted."""

from __future__ import annotations

import http.server
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.bench.lag_proxy import lagging


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode() * 10_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_requests_get_through_and_are_counted() -> None:
    """Those of one connection and those of several at once."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with lagging(server.server_port, 0.01) as lag, httpx.Client() as client, ThreadPoolExecutor(4) as pool:
        address = f"http://127.0.0.1:{lag.port}"
        for number in range(5):
            assert client.get(f"{address}/{number}", timeout=60).text == f"/{number}" * 10_000
        found = list(pool.map(lambda number: client.get(f"{address}/{number}", timeout=60).text, range(20)))
        assert found == [f"/{number}" * 10_000 for number in range(20)]
        assert lag.requests() == 25
    server.shutdown()
    server.server_close()
