"""Development tokens: HS256, signed with the secret of the data directory. Real use: RS256 or EdDSA keys.

What signs them is in the standard library: PyJWT loads all of `cryptography`, a quarter of a command's start.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence

TTL_S_DEFAULT = 24 * 3600


def mint(
    secret: str, user: str, *, workspace: str = "demo", scopes: Sequence[str] = (), ttl_s: int = TTL_S_DEFAULT
) -> str:
    """A token that says: the bearer is `user` in `workspace` until `ttl_s` seconds from now."""
    now = int(time.time())
    claims = {"sub": user, "ws": workspace, "iat": now, "exp": now + ttl_s, "scope": " ".join(scopes)}
    said = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{said}.{_base64(hmac.digest(secret.encode(), said.encode(), hashlib.sha256))}"


def _part(values: Mapping[str, object]) -> str:
    return _base64(json.dumps(values, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
