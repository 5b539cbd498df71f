"""ID tokens of an OpenID provider, checked (OpenID Connect Core §3.1.3.7, RFC 8725).

The algorithm is one of the configuration's, which are all asymmetric, and the key one that fits it: so neither `none`
nor a public key taken for a shared secret passes.
"""

import base64
import binascii
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from smart_auth.providers import Provider

SKEW_IN_SECONDS = 60
MAX_LENGTH = 16_384  # characters
_KINDS: Mapping[str, tuple[str, type[RSAKey] | type[ECKey]]] = {"RS": ("RSA", RSAKey), "PS": ("RSA", RSAKey),
                                                               "ES": ("EC", ECKey)}  # fmt: skip


class NoKey(Exception):
    """The JWK Set has no key, or several, for this token: the provider may have new ones."""


class BadToken(Exception):
    """The ID token is not good here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the token has to match: the request's nonce, the time, how old the sign-in may be (None: any age)."""

    nonce: str
    now_in_seconds: int
    max_age_in_seconds: int | None = None


def verify(token: str, jwks: Mapping[str, Any], provider: Provider, wanted: Wanted) -> dict[str, Any]:
    """The claims of a good ID token. Raises BadToken and NoKey."""
    header = _header(token)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in provider.algorithms:
        raise BadToken("algorithm")
    key = _key(header, algorithm, jwks)
    try:
        claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, RecursionError) as error:
        raise BadToken("signature") from error
    if fault := _fault(claims, provider, wanted):
        raise BadToken(fault)
    return claims


def _header(token: str) -> dict[str, Any]:
    part, _, rest = token.partition(".")
    try:
        if len(token) > MAX_LENGTH or rest.count(".") != 1:
            raise ValueError("no JWT in compact form")
        value = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadToken("form") from error
    if not isinstance(value, dict):
        raise BadToken("form")
    return value


def _key(header: Mapping[str, Any], algorithm: str, jwks: Mapping[str, Any]) -> RSAKey | ECKey:
    """The one key of the set that the header names, or that fits where it names none."""
    type_, make = _KINDS[algorithm[:2]]
    given = jwks.get("keys")
    found = [
        key
        for key in (given if isinstance(given, list) else ())
        if isinstance(key, dict)
        and key.get("kty") == type_
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and ("kid" not in header or key.get("kid") == header["kid"])
    ]
    if len(found) != 1:
        raise NoKey
    try:
        key = make.import_key(found[0])
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise BadToken("key") from error
    if isinstance(key, RSAKey) and key.public_key.key_size < 2048:
        raise BadToken("key")
    return key


def _fault(claims: Mapping[str, Any], provider: Provider, wanted: Wanted) -> str:
    """Which claim of a signed token is wrong; '' when none is."""
    now, audience = wanted.now_in_seconds, _texts(claims.get("aud"))
    nonce, subject = claims.get("nonce"), claims.get("sub")
    if claims.get("iss") != provider.issuer:
        return "iss"
    if provider.client_id not in audience:
        return "aud"
    # A token for several parties names the one that asked for it; others are not trusted to pass it on.
    if claims.get("azp", "" if len(audience) > 1 else provider.client_id) != provider.client_id:
        return "azp"
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        return "sub"
    if not isinstance(nonce, str) or not hmac.compare_digest(_bytes(nonce), _bytes(wanted.nonce)):
        return "nonce"
    expires = claims.get("exp")
    if not _is_time(expires) or expires <= now - SKEW_IN_SECONDS:
        return "exp"
    for name, time in (("iat", claims.get("iat")), ("nbf", claims.get("nbf", now))):
        if not _is_time(time) or time > now + SKEW_IN_SECONDS:
            return name
    signed_in = claims.get("auth_time")
    if wanted.max_age_in_seconds is not None and (
        not _is_time(signed_in) or now - signed_in > wanted.max_age_in_seconds + SKEW_IN_SECONDS
    ):
        return "auth_time"
    return ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _texts(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def _is_time(value: Any) -> TypeGuard[float]:
    # Python's JSON knows NaN, which is never before anything.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
