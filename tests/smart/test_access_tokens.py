"""Access tokens: issued, verified, refused; the attacks of RFC 8725 and RFC 9700."""

import base64
import hashlib
import hmac
import json
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.fhir.errors import Unauthorized
from fhir_server.interactions.access import Agent
from fhir_server.store.protocol import Unit
from smart_auth import keys, revocations
from smart_auth.keys import SigningKey, Unsealed
from smart_auth.tokens import CHECKED_FOR_IN_SECONDS, Issue, Verifier, bearer_token, challenge, issue
from smart_auth.urls import TenantUrls

ORIGIN = "https://fhir.example.org"
BASE = f"{ORIGIN}/demo/fhir"


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def refused(verifier: Verifier, token: str, tenant: str = "demo") -> Unauthorized:
    """The refusal of a token: 401, a challenge, and nothing of the token in what is said."""
    with pytest.raises(Unauthorized) as caught:
        await verifier.verify(tenant, token)
    error = caught.value
    header = error.headers["WWW-Authenticate"]
    assert header.startswith(f'Bearer realm="{ORIGIN}/{tenant}/fhir", error="invalid_token", error_description="')
    for part in token.split("."):
        assert len(part) < 8 or part not in header + str(error) + repr(error)
    return error


async def resigned(clinic: Any, read_jwt: Callable[..., Any], *, header: Any = None, **claims: Any) -> str:
    """A token signed with the clinic's own key whose claims or header are changed (None: left out)."""
    token = await clinic.website_token()
    key = await clinic.services.signing_key("demo")
    changed = {k: v for k, v in (read_jwt(token, 1) | claims).items() if v is not None}
    return jwt.encode(read_jwt(token, 0) | (header or {}), changed, key.key, algorithms=["ES256"])


@pytest.mark.requirement("R-6.3", "R-8.4")
async def test_an_issued_token_is_a_jwt_access_token(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    """RFC 9068 §2: typ, and the claims that it requires."""
    token = await clinic.website_token()
    header, claims = read_jwt(token, 0), read_jwt(token, 1)
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert claims["iss"] == f"{ORIGIN}/demo/auth"
    assert claims["aud"] == BASE
    assert claims["sub"] == claims["client_id"] == "website-builder"
    assert claims["scope"] == "system/Appointment.cr"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["role"] == "website"
    verified = await clinic.verifier().verify("demo", token)
    assert verified.agent == Agent(
        "website", "website-builder", token_id=claims["jti"], scopes=("system/Appointment.cr",)
    )
    assert verified.expires == claims["exp"]


async def test_a_person_behind_a_token_is_the_agent(clinic: Any) -> None:
    agent = Agent("patient", "patient-portal", "Patient/anna", "Anna", "anna", "t1", ("patient/*.rs", "openid"))
    key = await clinic.services.signing_key("demo")
    token = issue(key, TenantUrls(ORIGIN, "demo"), Issue(agent, "anna", "patient-portal", clinic.clock(), 600))
    verified = await clinic.verifier().verify("demo", token)
    assert (verified.agent, verified.subject) == (agent, "anna")


async def test_a_token_is_resolved_once_and_refused_from_its_expiry_on(clinic: Any) -> None:
    verifier, token = clinic.verifier(), await clinic.website_token()
    first = await verifier.verify("demo", token)
    assert await verifier.verify("demo", token) is first
    assert len(clinic.resolved) == 1
    clinic.clock.advance(299)
    await verifier.verify("demo", token)
    clinic.clock.advance(1)
    assert (await refused(verifier, token)).issues[0].code == "expired"
    assert (await refused(clinic.verifier(), token)).issues[0].code == "expired"


@pytest.mark.requirement("R-6.1")
async def test_a_token_of_another_clinic_is_refused(clinic: Any) -> None:
    verifier, token = clinic.verifier(), await clinic.website_token()
    await clinic.services.signing_key("other")
    await refused(verifier, token, "other")
    await verifier.verify("demo", token)
    await refused(verifier, token, "other")  # not from the cache either


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": 1_799_999_999}, "expired"),
        ({"nbf": 1_800_000_060}, "not valid yet"),
        ({"iat": 1_800_000_060}, "not valid yet"),
        ({"aud": f"{ORIGIN}/other/fhir"}, "audience"),
        ({"aud": [BASE]}, "lacks a claim"),
        ({"iss": f"{ORIGIN}/other/auth"}, "issuer"),
        ({"exp": None}, "lacks a claim"),
        ({"exp": "1900000000"}, "lacks a claim"),
        ({"exp": 1.9e9}, "lacks a claim"),
        ({"exp": True}, "lacks a claim"),
        ({"jti": None}, "lacks a claim"),
        ({"scope": ["system/*.cruds"]}, "lacks a claim"),
        ({"role": "root"}, "role"),
    ],
)
async def test_signed_claims_that_are_wrong_are_refused(
    clinic: Any, read_jwt: Callable[..., Any], claims: dict[str, Any], words: str
) -> None:
    assert words in str(await refused(clinic.verifier(), await resigned(clinic, read_jwt, **claims)))


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "AT+JWT"}, {"jku": "https://evil.example/jwks"},
                                    {"x5u": "https://evil.example"}, {"cty": "x"}])  # fmt: skip
async def test_a_header_that_this_server_does_not_write_is_refused(
    clinic: Any, read_jwt: Callable[..., Any], header: dict[str, Any]
) -> None:
    """An ID token is no access token; keys that a token brings along are not looked at (RFC 8725 §3.10, §3.11)."""
    await clinic.verifier().verify("demo", await resigned(clinic, read_jwt))  # positive control
    await refused(clinic.verifier(), await resigned(clinic, read_jwt, header=header))


async def test_an_embedded_key_is_not_trusted(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    token, evil = await clinic.website_token(), ECKey.generate_key("P-256")
    header = read_jwt(token, 0) | {"jwk": evil.as_dict(private=False)}
    await refused(clinic.verifier(), jwt.encode(header, read_jwt(token, 1), evil, algorithms=["ES256"]))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "ES384", "RS256", ""])
async def test_another_algorithm_is_refused(clinic: Any, read_jwt: Callable[..., Any], algorithm: str) -> None:
    """RFC 8725 §3.1: `none`, and every algorithm but the pinned one."""
    token = await clinic.website_token()
    header = encoded(read_jwt(token, 0) | {"alg": algorithm})
    _, claims, signature = token.split(".")
    await refused(clinic.verifier(), f"{header}.{claims}.{signature}")
    await refused(clinic.verifier(), f"{header}.{claims}.")


async def test_the_public_key_is_no_shared_secret(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    """Algorithm confusion: HS256 with the published key, as PEM, as DER and as JWK."""
    token = await clinic.website_token()
    key: SigningKey = await clinic.services.signing_key("demo")
    signing_input = f"{encoded(read_jwt(token, 0) | {'alg': 'HS256'})}.{token.split('.')[1]}"
    for secret in (key.key.as_pem(private=False), key.key.as_der(private=False), json.dumps(key.public()).encode()):
        mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(mac).decode().rstrip("=")
        await refused(clinic.verifier(), f"{signing_input}.{signature}")


async def test_a_foreign_key_is_refused_under_any_kid(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    token, evil = await clinic.website_token(), ECKey.generate_key("P-256")
    known = read_jwt(token, 0)["kid"]
    for kid in (known, "unknown", "", "../../key", "' OR 1=1 --", "x" * 300):
        forged = jwt.encode(read_jwt(token, 0) | {"kid": kid}, read_jwt(token, 1), evil, algorithms=["ES256"])
        await refused(clinic.verifier(), forged)


async def test_a_tampered_token_is_refused(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    verifier, token = clinic.verifier(), await clinic.website_token()
    await verifier.verify("demo", token)
    header, claims, signature = token.split(".")
    richer = encoded(read_jwt(token, 1) | {"scope": "system/*.cruds", "role": "administrator"})
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    for forged in (f"{header}.{richer}.{signature}", f"{header}.{claims}.{flipped}", f"{header}.{claims}.{'A' * 86}",
                   f"{header}.{claims}.", f"{header}.{claims}"):  # fmt: skip
        await refused(verifier, forged)


@pytest.mark.parametrize("token", ["", ".", "..", "...", "a.b.c", "é.é.é", "\ud800", "e30.e30.e30", "W10.W10.W10",
                                   "A" * 10_000, f"{encoded([])}.{encoded({})}.AA"])  # fmt: skip
async def test_what_is_no_token_is_refused(clinic: Any, token: str) -> None:
    await refused(clinic.verifier(), token)


async def test_a_key_for_id_tokens_signs_no_access_token(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    async def make(unit: Unit) -> SigningKey:
        await keys.ensure(unit, Unsealed(), clinic.clock(), "RS256")
        found = (await keys.load(unit, Unsealed())).signing("RS256")
        assert found is not None
        return found

    key = await clinic.write(make)
    token = await clinic.website_token()
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    await refused(clinic.verifier(), jwt.encode(header, read_jwt(token, 1), key.key, algorithms=["RS256"]))


async def test_a_revoked_token_is_refused_even_when_remembered(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    verifier = clinic.verifier()
    token = await clinic.website_token()
    await verifier.verify("demo", token)
    mark = revocations.token_mark(read_jwt(token, 1)["jti"])
    await clinic.write(lambda unit: revocations.revoke(unit, mark, None))
    clinic.clock.advance(1)  # what another process revoked is seen within a second
    assert "revoked" in str(await refused(verifier, token))


async def test_only_so_many_tokens_are_remembered(clinic: Any) -> None:
    verifier = clinic.verifier(size=2)
    first, second, third = [await clinic.website_token() for _ in range(3)]
    for token in (first, second, first, third):  # the second is the one not used for longest
        await verifier.verify("demo", token)
    assert len(clinic.resolved) == 3
    await verifier.verify("demo", first)
    assert len(clinic.resolved) == 3
    await verifier.verify("demo", second)
    assert len(clinic.resolved) == 4


async def test_rotation_keeps_old_tokens_and_withdrawal_ends_them(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    verifier, old = clinic.verifier(), await clinic.website_token()
    await verifier.verify("demo", old)
    await clinic.write(lambda unit: keys.rotate(unit, Unsealed(), clinic.clock()))
    new = await clinic.website_token()
    assert read_jwt(new, 0)["kid"] != read_jwt(old, 0)["kid"]
    await verifier.verify("demo", new)
    await verifier.verify("demo", old)
    assert await clinic.write(lambda unit: keys.withdraw(unit, read_jwt(old, 0)["kid"]))
    clinic.clock.advance(CHECKED_FOR_IN_SECONDS)
    await refused(verifier, old)
    await verifier.verify("demo", new)


async def test_a_withdrawn_key_can_be_forgotten_at_once(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    verifier, token = clinic.verifier(), await clinic.website_token()
    await verifier.verify("demo", token)
    await clinic.write(lambda unit: keys.withdraw(unit, read_jwt(token, 0)["kid"]))
    verifier.forget("demo")
    await refused(verifier, token)


def test_the_authorization_header_is_read_strictly() -> None:
    """RFC 6750 §2.1."""
    assert bearer_token(None, BASE) is None
    assert bearer_token("Bearer abc.def-_~+/=", BASE) == "abc.def-_~+/="
    assert bearer_token("bearer abc", BASE) == "abc"
    for value in ("", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer a,b", 'Bearer "a"', "abc"):
        with pytest.raises(Unauthorized) as caught:
            bearer_token(value, BASE)
        assert caught.value.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_challenge_cannot_be_broken_out_of() -> None:
    """RFC 6750 §3: no error code where no token was sent."""
    assert challenge(BASE) == f'Bearer realm="{BASE}"'
    assert challenge('x"\r\nSet-Cookie: a') == "Bearer realm=\"x'''Set-Cookie: a\""


async def test_a_remembered_token_costs_microseconds(clinic: Any) -> None:
    """The budget is 10 µs on an idle machine; the test leaves room for a busy one."""
    verifier, token = clinic.verifier(), await clinic.website_token()
    await verifier.verify("demo", token)

    def once() -> None:
        with pytest.raises(StopIteration):  # never suspends when the token is known
            verifier.verify("demo", token).send(None)

    once()
    work = verifier.verify

    def bare() -> None:
        try:
            work("demo", token).send(None)
        except StopIteration:
            return

    assert min(timeit.repeat(bare, number=1000, repeat=5)) / 1000 < 50e-6
