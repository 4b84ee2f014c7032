"""Tokens: HS256 with a secret for development, RS256, ES256 or EdDSA with a JWKS file for real use.

The algorithm is chosen by the kind of key that we have, never by the token alone, so a token cannot turn a
public key into an HMAC secret. Claims: `sub` (user), `ws` (workspace), `exp`, and `scope` (separated by
spaces). The JWKS file is read again when it changes; if the new one cannot be read, the old keys stay.
"""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import Any

import jwt
import orjson
import structlog
from jwt.algorithms import HMACAlgorithm

from edge.core.principal import Principal
from edge.settings import EdgeSettings
from shared.errors import InvalidId, Misconfigured, Unauthorized
from shared.ids import user_id, workspace_id

SECRET_BYTES_MIN = 32
PUBLIC_KEY_ALGORITHMS = ("RS256", "ES256", "EdDSA")
_SCOPES_KEPT = 256

_log = structlog.get_logger()


class TokenExpired(Unauthorized):
    """The token was good once; a newer one is needed."""


class Authenticator:
    """Turns tokens into principals."""

    def __init__(
        self, *, secret: str = "", jwks_file: Path | None = None, issuer: str = "", audience: str = ""
    ) -> None:
        self._secret = _secret_key(secret) if secret else None
        self._jwks_file = jwks_file
        self._issuer = issuer or None
        self._audience = audience or None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at_ns = -1
        if not secret and jwks_file is None:
            raise Misconfigured("set PARLEY_JWT_SECRET (development) or PARLEY_JWKS_FILE")
        if secret and len(secret.encode()) < SECRET_BYTES_MIN:
            raise Misconfigured(f"PARLEY_JWT_SECRET needs at least {SECRET_BYTES_MIN} bytes")
        if jwks_file is not None:
            try:
                self._read(jwks_file)
            except (OSError, ValueError, jwt.PyJWTError) as error:
                raise Misconfigured(f"PARLEY_JWKS_FILE: {error}") from error

    @classmethod
    def of(cls, settings: EdgeSettings) -> Authenticator:
        """The authenticator that the settings describe; raises `Misconfigured`."""
        return cls(
            secret=settings.jwt_secret.get_secret_value(),
            jwks_file=settings.jwks_file,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )

    def verify(self, token: str) -> Principal:
        """Who the token stands for. Raises `Unauthorized`, or `TokenExpired`."""
        try:
            key, algorithm = self._key(_header(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["sub", "ws", "exp"], "verify_aud": self._audience is not None},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("the token has expired; come back with a new one") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthorized(f"the token is not valid: {error}") from error
        return _principal(claims)

    def _key(self, header: dict[str, Any]) -> tuple[jwt.PyJWK, str]:
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret is not None:
            return self._secret, algorithm
        if algorithm in PUBLIC_KEY_ALGORITHMS and self._jwks_file is not None:
            self._reread(self._jwks_file)
            found = self._keys.get(header.get("kid"))
            if found is None:
                raise Unauthorized("the token is signed with a key that is not in the JWKS file (kid)")
            if found.algorithm_name != algorithm:
                raise Unauthorized(f"the token's key is for {found.algorithm_name}, not for {algorithm}")
            return found, algorithm
        raise Unauthorized(f"tokens signed with {str(algorithm)[:20]!r} are not accepted here")

    def _reread(self, path: Path) -> None:
        try:
            if path.stat().st_mtime_ns != self._read_at_ns:
                self._read(path)
                _log.info("jwks.reloaded", keys=len(self._keys))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            _log.warning("jwks.unreadable", error=str(error))

    def _read(self, path: Path) -> None:
        changed_ns = path.stat().st_mtime_ns
        keys = jwt.PyJWKSet.from_json(path.read_text()).keys
        self._keys = {key.key_id: key for key in keys if key.algorithm_name in PUBLIC_KEY_ALGORITHMS}
        self._read_at_ns = changed_ns


def bearer(authorization: str | None) -> str | None:
    """The token in an `Authorization: Bearer` header, if there is one."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class _LookedAt(HMACAlgorithm):
    """HS256 with a key that has been prepared: PyJWT searches it for other kinds of keys with each token."""

    def prepare_key(self, key: str | bytes) -> bytes:
        assert isinstance(key, bytes)
        return key


def _secret_key(secret: str) -> jwt.PyJWK:
    """Looked at once, here. Raises `Misconfigured` if it is another kind of key."""
    text = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    key = jwt.PyJWK.from_dict({"kty": "oct", "k": text, "alg": "HS256"})
    try:
        key.Algorithm.prepare_key(key.key)
    except jwt.InvalidKeyError as error:
        raise Misconfigured(f"PARLEY_JWT_SECRET: {error}") from error
    key.Algorithm = _LookedAt(HMACAlgorithm.SHA256)
    return key


def _header(token: str) -> dict[str, Any]:
    """What the token says of its key; `jwt.decode` reads all of it anyway. Raises `ValueError`."""
    first = token.partition(".")[0]
    header = orjson.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    if not isinstance(header.get("kid", ""), str):
        raise ValueError("its key id (kid) is no string")
    return header


@functools.lru_cache(maxsize=_SCOPES_KEPT)
def _scopes(scope: str) -> frozenset[str]:
    """One set for all who have the same."""
    return frozenset(scope.split())


def _principal(claims: dict[str, Any]) -> Principal:
    scope = claims.get("scope", "")
    if not isinstance(claims["sub"], str) or not isinstance(claims["ws"], str) or not isinstance(scope, str):
        raise Unauthorized("the claims sub, ws and scope must be strings")
    try:
        return Principal(
            user=user_id(claims["sub"]),
            workspace=workspace_id(claims["ws"]),
            scopes=_scopes(scope),
            expires_s=float(claims["exp"]),
        )
    except (InvalidId, TypeError) as error:
        raise Unauthorized(f"the token's claims are not valid: {error}") from error
