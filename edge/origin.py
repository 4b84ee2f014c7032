"""Which pages may open a WebSocket here (P4, AT-75). Programs send no Origin and need none."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def allowed(origin: str | None, host: str | None, allow: frozenset[str]) -> bool:
    """Whether a page of `origin` may connect to `host` (the header): listed, or the same without a list."""
    if origin is None:
        return True
    if allow:
        return "*" in allow or origin.rstrip("/") in allow
    page = _authority(origin)
    return (
        page is not None and host is not None and page == _authority(f"{origin.partition('://')[0]}://{host}")
    )


def _authority(origin: str) -> tuple[str, int] | None:
    """Host and port, the port of the scheme if none is named; None for what has no host."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return parts.hostname, port
