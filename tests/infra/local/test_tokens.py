"""Development tokens."""

from __future__ import annotations

import jwt

from infra.local.tokens import mint

SECRET = "s" * 32


def test_claims() -> None:
    """Who, where, until when, allowed what."""
    token = mint(SECRET, "ada", workspace="acme", scopes=("import", "read"), ttl_s=60)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["ws"], claims["scope"]) == ("ada", "acme", "import read")
    assert claims["exp"] - claims["iat"] == 60
