"""Client assertions signed by the client's own key: `private_key_jwt`.

Source: RFC 7523 §3, SMART App Launch 2.2.0 client-confidential-asymmetric.
Detail is told only once the signature is good; before, every fault has one answer.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Unit
from smart_auth.clients import Client
from smart_auth.errors import InvalidClient

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Mapping[str, tuple[str, type[RSAKey] | type[ECKey]]] = {"RS384": ("RSA", RSAKey), "ES384": ("EC", ECKey)}
MAX_AGE_IN_SECONDS = 300
SKEW_IN_SECONDS = 30  # the client's clock may be that far ahead
MAX_LENGTH = 16_384  # characters
FAILED = "Client authentication failed."
KIND = "jti"


@dataclass(frozen=True, slots=True)
class Assertion:
    """A good assertion: whose, its `jti`, and its `exp` in seconds since 1970."""

    client_id: str
    token_id: str
    expires: int


def claimed_client(assertion: str) -> str:
    """Whom an assertion claims to come from, unverified. Raises InvalidClient when it is no JWT."""
    issuer = _part(assertion, 1).get("iss")
    if not isinstance(issuer, str):
        raise InvalidClient(FAILED)
    return issuer


def verify(assertion: str, client: Client, jwks: Mapping[str, Any], audience: str, now: Micros) -> Assertion:
    """The assertion, if the client signed it for this token endpoint. Raises InvalidClient."""
    header = _part(assertion, 0)
    key = _key(header, client, jwks)
    try:
        claims = jwt.decode(assertion, key, algorithms=[header["alg"]]).claims
    except (JoseError, ValueError, RecursionError) as error:
        raise InvalidClient(FAILED) from error
    seconds = now // 1_000_000
    if fault := _fault(claims, client.client_id, audience, seconds):
        raise InvalidClient(fault)
    return Assertion(client.client_id, claims["jti"], int(claims["exp"]))


async def use_once(unit: Unit, assertion: Assertion) -> None:
    """Note that the assertion was used. Raises InvalidClient when it was already; needs a Unit that may write."""
    digest = hashlib.sha256(assertion.token_id.encode("utf-8", "surrogatepass")).hexdigest()
    name = f"{assertion.client_id} {digest}"
    if await unit.peek(KIND, name) is not None:
        raise InvalidClient("The assertion's 'jti' was used before; sign a new assertion for each request.")
    await unit.keep(KIND, name, b"1", (assertion.expires + 1) * 1_000_000)


def _key(header: Mapping[str, Any], client: Client, jwks: Mapping[str, Any]) -> RSAKey | ECKey:
    """The one registered key that the header names (SMART: exactly one of that `kid` whose `kty` fits the `alg`)."""
    algorithm, kid = header.get("alg"), header.get("kid")
    is_known = isinstance(algorithm, str) and algorithm in ALGORITHMS and isinstance(kid, str)
    if not is_known or ("jku" in header and (not client.jwks_uri or header["jku"] != client.jwks_uri)):
        raise InvalidClient(FAILED)
    type_, make = ALGORITHMS[str(algorithm)]
    keys = [
        key
        for key in jwks.get("keys", ())
        if isinstance(key, dict)
        and key.get("kid") == kid
        and key.get("kty") == type_
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    ]
    if len(keys) != 1:
        raise InvalidClient(FAILED)
    try:
        return make.import_key(keys[0])
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise InvalidClient(FAILED) from error


def _fault(claims: Mapping[str, Any], client_id: str, audience: str, now: int) -> str:
    """What is wrong with signed claims; '' when nothing is."""
    expires, token_id = claims.get("exp"), claims.get("jti")
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        return "The assertion's 'iss' and 'sub' must both be the client id."
    # One audience only: an assertion for several servers could be replayed by any of them.
    if claims.get("aud") not in (audience, [audience]):
        return "The assertion's 'aud' must be the URL of this token endpoint."
    if not isinstance(token_id, str) or not token_id:
        return "The assertion needs a 'jti'."
    if not isinstance(expires, int | float) or isinstance(expires, bool) or not now < expires:
        return "The assertion has expired, or its 'exp' is no number of seconds."
    if expires > now + MAX_AGE_IN_SECONDS + SKEW_IN_SECONDS:
        return "The assertion's 'exp' is more than five minutes ahead."
    for name in ("iat", "nbf"):
        time = claims.get(name, now)
        if not isinstance(time, int | float) or isinstance(time, bool) or time > now + SKEW_IN_SECONDS:
            return f"The assertion's '{name}' lies ahead, or is no number of seconds."
    return ""


def _part(assertion: str, index: int) -> dict[str, Any]:
    parts = assertion.split(".")
    if len(assertion) > MAX_LENGTH or len(parts) != 3:
        raise InvalidClient(FAILED)
    part = parts[index]
    try:
        value = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidClient(FAILED) from error
    if not isinstance(value, dict):
        raise InvalidClient(FAILED)
    return value
