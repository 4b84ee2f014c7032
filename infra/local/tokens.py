"""Development tokens: HS256, signed with the secret of the data directory. Real use: RS256 or EdDSA keys."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jwt

TTL_S_DEFAULT = 24 * 3600


def mint(
    secret: str, user: str, *, workspace: str = "demo", scopes: Sequence[str] = (), ttl_s: int = TTL_S_DEFAULT
) -> str:
    """A token that says: the bearer is `user` in `workspace` until `ttl_s` seconds from now."""
    now = int(time.time())
    claims = {"sub": user, "ws": workspace, "iat": now, "exp": now + ttl_s, "scope": " ".join(scopes)}
    return jwt.encode(claims, secret, algorithm="HS256")
