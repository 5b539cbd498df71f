"""ID tokens of an OpenID provider, good and bad (OpenID Connect Core §3.1.3.7, RFC 8725)."""

import base64
import hmac
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from smart_auth import provider_tokens
from smart_auth.provider_tokens import BadToken, NoKey, Wanted
from smart_auth.providers import Provider
from tests.smart.test_provider import CLIENT, ISSUER, KEYS


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonce": "another"}, "nonce"), ({"nonce": None}, "nonce"), ({"nonce": 7}, "nonce"),
        ({"aud": "another"}, "aud"), ({"aud": None}, "aud"), ({"aud": ["another"]}, "aud"),
        ({"aud": [CLIENT, "another"]}, "azp"), ({"azp": "another"}, "azp"),
        ({"iss": "https://evil.example.com"}, "iss"), ({"iss": f"{ISSUER}/"}, "iss"), ({"iss": None}, "iss"),
        ({"exp": 1_799_999_900}, "exp"), ({"exp": None}, "exp"), ({"exp": "9999999999"}, "exp"),
        ({"exp": float("nan")}, "exp"), ({"exp": float("inf")}, "exp"), ({"exp": True}, "exp"),
        ({"iat": 1_800_000_100}, "iat"), ({"iat": None}, "iat"), ({"nbf": 1_800_000_100}, "nbf"), ({"nbf": "x"}, "nbf"),
        ({"sub": None}, "sub"), ({"sub": ""}, "sub"), ({"sub": 7}, "sub"), ({"sub": "x" * 300}, "sub"),
    ],
    ids=str,
)  # fmt: skip
def test_claims_of_an_id_token_are_checked(changes: dict[str, Any], why: str) -> None:
    """OpenID Connect Core §3.1.3.7."""
    with pytest.raises(BadToken, match=f"^{why}$"):
        check(changes)


def check(changes: dict[str, Any], header: dict[str, Any] | None = None, key: Any = None, **more: Any) -> Any:
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": "p", "iat": 1_800_000_000, "exp": 1_800_000_300, "nonce": "n"}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    header = header or {"alg": "RS256", "kid": "rsa"}
    payload = json.dumps(claims).encode()
    token = more.pop("token", None) or jws.serialize_compact(
        header, payload, key or KEYS["rsa"], algorithms=[header["alg"]]
    )
    jwks = {"keys": more.pop("keys", [{**KEYS["rsa"].as_dict(private=False), "kid": "rsa"}])}
    algorithms = more.pop("algorithms", ("RS256",))
    asked = Provider(ISSUER, CLIENT, "x", "sub", algorithms=algorithms)
    return provider_tokens.verify(token, jwks, asked, Wanted("n", 1_800_000_000))


def test_a_good_token_is_taken() -> None:
    """The controls: one audience or several with `azp`, without `kid`, by an elliptic curve where it is allowed."""
    assert check({})["sub"] == "p"
    assert check({"aud": [CLIENT, "another"], "azp": CLIENT})
    assert check({"exp": 1_799_999_950})  # a clock that is off
    assert check({}, {"alg": "RS256"})
    elliptic = [{**KEYS["ec"].as_dict(private=False), "kid": "e"}]
    assert check({}, {"alg": "ES256", "kid": "e"}, KEYS["ec"], keys=elliptic, algorithms=("RS256", "ES256"))


@pytest.mark.filterwarnings("ignore")
def test_no_other_algorithm_or_key_passes() -> None:
    """RFC 8725 §3.1: none, a public key taken for a shared secret, and what is not allowed here."""
    payload = base64.urlsafe_b64encode(b"{}").decode().rstrip("=")
    for algorithm in ("none", "None", "HS256", "RS512", None, 7):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).decode().rstrip("=")
        with pytest.raises(BadToken, match="algorithm"):
            check({}, token=f"{header}.{payload}.")
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').decode().rstrip("=")
    by_public_key = hmac.digest(KEYS["rsa"].as_pem(private=False), f"{header}.{payload}".encode(), "sha256")
    with pytest.raises(BadToken, match="algorithm"):
        check({}, token=f"{header}.{payload}.{base64.urlsafe_b64encode(by_public_key).decode().rstrip('=')}")
    with pytest.raises(BadToken, match="algorithm"):
        check({}, {"alg": "ES256", "kid": "rsa"}, KEYS["ec"])
    with pytest.raises(BadToken, match="signature"):
        check({}, key=KEYS["other"])
    short = RSAKey.generate_key(1024)
    with pytest.raises(BadToken, match="key"):
        check({}, key=short, keys=[{**short.as_dict(private=False), "kid": "rsa"}])


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30.", "bnVsbA.e30.x", "." * 20_000, "[].[].[]", "é.é.é"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadToken):
        check({}, token=token or ".")


@pytest.mark.parametrize(
    "keys",
    [
        [], None, "x", ["x"], [{"kty": "RSA", "kid": "another"}], [{"kty": "RSA", "kid": "rsa", "use": "enc"}],
        [{"kty": "RSA", "kid": "rsa", "alg": "RS512"}], [{"kty": "oct", "kid": "rsa", "k": "eA"}],
        [{"kty": "RSA", "kid": "rsa"}, {"kty": "RSA", "kid": "rsa"}],
    ],
)  # fmt: skip
def test_a_set_without_the_one_key_is_no_help(keys: Any) -> None:
    with pytest.raises(NoKey):
        check({}, keys=keys)
