"""Tokens: who signed decides, by the key that we have; everything else is refused in one way."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from edge.auth import Authenticator, TokenExpired, bearer
from shared.errors import Misconfigured, Unauthorized

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
HS = Authenticator(secret=SECRET)


def claims(**changed: object) -> dict[str, object]:
    """What a good token says; None leaves a claim out."""
    good = {"sub": "alice", "ws": "w", "exp": time.time() + 60, "scope": "chat import"} | changed
    return {name: value for name, value in good.items() if value is not None}


def signed(algorithm: str, key: object, kid: str | None = None, **changed: object) -> str:
    """A token."""
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]


def jwks(folder: Path) -> Path:
    """A JWKS file with one key of each kind."""
    keys = [
        jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "r", "alg": "RS256"},
        jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key(), as_dict=True) | {"kid": "e", "alg": "ES256"},
        jwt.algorithms.OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True) | {"kid": "d", "alg": "EdDSA"},
    ]
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return path


def test_a_good_token_is_a_principal() -> None:
    """Sub, workspace, scopes and end are taken from the claims."""
    principal = HS.verify(signed("HS256", SECRET))
    assert (principal.user, principal.workspace, principal.may_import) == ("alice", "w", True)
    assert principal.expires_s is not None
    assert not HS.verify(signed("HS256", SECRET, scope=None)).may_import


@pytest.mark.parametrize(
    ("algorithm", "key", "kid"), [("RS256", RSA, "r"), ("ES256", EC, "e"), ("EdDSA", ED, "d")]
)
def test_public_keys_come_from_the_jwks_file(tmp_path: Path, algorithm: str, key: object, kid: str) -> None:
    """Each kind of key verifies its own tokens; another's key id does not."""
    auth = Authenticator(jwks_file=jwks(tmp_path))
    assert auth.verify(signed(algorithm, key, kid)).user == "alice"
    for wrong in {"r", "e", "d", "unknown", None} - {kid}:
        with pytest.raises(Unauthorized):
            auth.verify(signed(algorithm, key, wrong))


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    """A token cannot choose HS256 and sign with the public key; nor no algorithm at all."""
    auth = Authenticator(jwks_file=jwks(tmp_path))
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"r","typ":"JWT"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(header + b"." + body, pem)
    forged = b".".join([header, body, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    for token in (forged, jwt.encode(claims(), None, algorithm="none"), signed("HS256", SECRET)):
        with pytest.raises(Unauthorized):
            auth.verify(token)


@pytest.mark.parametrize(
    "changed",
    [{"sub": None}, {"ws": None}, {"exp": None}, {"sub": ""}, {"sub": "a\x00"}, {"sub": 7}, {"ws": "a.b"},
     {"ws": "*"}, {"scope": ["import"]}, {"exp": "soon"}, {"nbf": 4_000_000_000}],
    ids=str,
)  # fmt: skip
def test_bad_claims_are_refused(changed: dict[str, object]) -> None:
    """A signature does not make a user id, a workspace or a time valid."""
    with pytest.raises(Unauthorized) as refused:
        HS.verify(signed("HS256", SECRET, **changed))
    assert not isinstance(refused.value, TokenExpired)


def test_an_expired_token_says_so() -> None:
    """The client is told apart from a forger: it needs a new token, not another one (AT-61)."""
    with pytest.raises(TokenExpired):
        HS.verify(signed("HS256", SECRET, exp=time.time() - 1))


def test_an_expired_forgery_is_a_forgery() -> None:
    """The signature is checked first."""
    with pytest.raises(Unauthorized) as refused:
        HS.verify(signed("HS256", "another secret that is as long as it must be", exp=time.time() - 1))
    assert not isinstance(refused.value, TokenExpired)


@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode() + ".")
)
def test_garbage_is_unauthorized(token: str) -> None:
    """No token makes the check raise anything else."""
    with pytest.raises(Unauthorized):
        HS.verify(token)


def test_issuer_and_audience_are_asked_for() -> None:
    """Where they are configured, a token without or with others is refused; where not, any is taken."""
    auth = Authenticator(secret=SECRET, issuer="idp", audience="chat")
    assert auth.verify(signed("HS256", SECRET, iss="idp", aud="chat"))
    for changed in ({}, {"iss": "idp"}, {"iss": "idp", "aud": "mail"}, {"iss": "x", "aud": "chat"}):
        with pytest.raises(Unauthorized):
            auth.verify(signed("HS256", SECRET, **changed))
    assert HS.verify(signed("HS256", SECRET, iss="any", aud="mail"))


def rewrite(path: Path, text: str, moment: int) -> None:
    """Another content with another time of change."""
    path.write_text(text)
    os.utime(path, (moment, moment))


def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    """A new file replaces the keys; one that cannot be read leaves the old ones in force."""
    path = jwks(tmp_path)
    auth = Authenticator(jwks_file=path)
    token = signed("EdDSA", ED, "d")
    rewrite(path, "{not json", 1)
    assert auth.verify(token).user == "alice"
    path.unlink()
    assert auth.verify(token).user == "alice"
    other = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "r", "alg": "RS256"}
    rewrite(path, json.dumps({"keys": [other]}), 2)
    with pytest.raises(Unauthorized):
        auth.verify(token)
    assert auth.verify(signed("RS256", RSA, "r")).user == "alice"


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "make",
    [
        lambda _: Authenticator(),
        lambda _: Authenticator(secret="short"),
        lambda _: Authenticator(secret=PEM),
        lambda folder: Authenticator(jwks_file=folder / "missing.json"),
        lambda folder: Authenticator(jwks_file=folder),
    ],
)
def test_an_edge_that_could_verify_nothing_does_not_start(
    tmp_path: Path, make: Callable[[Path], Authenticator]
) -> None:
    """No key, a weak one or a file that is not there: the setting to change is named."""
    with pytest.raises(Misconfigured, match="PARLEY_"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer", None), ("Bearer ", None),
     ("", None), (None, None)],
)  # fmt: skip
def test_bearer_is_read_from_the_header(header: str | None, token: str | None) -> None:
    """Only a bearer token is one."""
    assert bearer(header) == token


@pytest.mark.parametrize(
    "header",
    [[], "x", 7, None, {}, {"alg": "RS256", "kid": []}, {"alg": "RS256", "kid": {}}, {"alg": ["HS256"]},
     {"alg": "HS256", "kid": 7}, {"alg": "HS256", "crit": ["b64"], "b64": False}],
    ids=str,
)  # fmt: skip
def test_a_strange_header_is_unauthorized(tmp_path: Path, header: object) -> None:
    """The header is read before anything proves it: whatever it holds is refused, never a fault."""
    _, body, mac = signed("HS256", SECRET).split(".")
    strange = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    for auth in (HS, Authenticator(jwks_file=jwks(tmp_path))):
        with pytest.raises(Unauthorized):
            auth.verify(f"{strange}.{body}.{mac}")
