"""Sessions of people who signed in with a browser, their cookies, and the tokens that guard forms against CSRF.

A session is a random value in a cookie, kept as SHA-256. It ends after half an hour without use, after twelve hours,
or by logout. A form's token is an HMAC under the cookie's value, so nobody who cannot read the cookie can make one.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request, Response

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Unit
from smart_auth import accounts
from smart_auth.accounts import Account
from smart_auth.errors import AccessDenied
from smart_auth.grants import digest
from smart_auth.redirects import LOOPBACK
from smart_auth.urls import TenantUrls

KIND = "session"
IDLE: Micros = 30 * 60 * 1_000_000
LONGEST: Micros = 12 * 3600 * 1_000_000
_RENEWED_AFTER: Micros = 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. `value` is the cookie's, `began` when they signed in."""

    value: str
    account: Account
    began: Micros
    used: Micros

    @property
    def digest(self) -> str:
        """What the session is kept by."""
        return digest(self.value)


async def begin(unit: Unit, account: Account, now: Micros, began: Micros | None = None) -> Session:
    """A new session, under a value that nobody has seen before; `began`: when the person signed in, if not now."""
    session = Session(secrets.token_urlsafe(32), account, now if began is None else began, now)
    await _keep(unit, session)
    return session


async def find(unit: Unit, value: str) -> Session | None:
    """The open session of a cookie, if its person may still sign in."""
    stored = await unit.peek(KIND, digest(value)) if value else None
    if stored is None:
        return None
    name, began, used = json.loads(stored)
    account = await accounts.load(unit, name)
    return Session(value, account, began, used) if account is not None and not account.disabled else None


def is_due(session: Session, now: Micros) -> bool:
    """Whether its use should be noted."""
    return now - session.used > _RENEWED_AFTER


async def renew(unit: Unit, session: Session, now: Micros) -> None:
    """Note that a session was used, unless it was ended meanwhile."""
    if await is_open(unit, session.digest):
        await _keep(unit, Session(session.value, session.account, session.began, now))


async def is_open(unit: Unit, session_digest: str) -> bool:
    """Whether there is such a session still."""
    return await unit.peek(KIND, session_digest) is not None


async def end(unit: Unit, value: str) -> None:
    """End a session."""
    await unit.take(KIND, digest(value))


async def _keep(unit: Unit, session: Session) -> None:
    stored = json.dumps([session.account.name, session.began, session.used]).encode()
    expires = min(session.used + IDLE, session.began + LONGEST)
    await unit.keep(KIND, session.digest, stored, expires)


# Cookies


def cookie(request: Request, urls: TenantUrls, name: str) -> str:
    """The value of one of our cookies; '' where there is none."""
    return request.cookies.get(_full(name, urls.origin), "")


def set_cookie(response: Response, urls: TenantUrls, name: str, value: str) -> None:
    """Set a cookie for the tenant's own pages: HttpOnly, SameSite=Lax, Secure outside of loopback."""
    response.set_cookie(_full(name, urls.origin), value, path=f"/{urls.tenant}/auth", secure=_is_secure(urls.origin),
                        httponly=True, samesite="lax")  # fmt: skip


def drop_cookie(response: Response, urls: TenantUrls, name: str) -> None:
    """Have the browser forget a cookie."""
    response.delete_cookie(_full(name, urls.origin), path=f"/{urls.tenant}/auth", secure=_is_secure(urls.origin),
                           httponly=True, samesite="lax")  # fmt: skip


def _is_secure(origin: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme == "https" or parts.hostname not in LOOPBACK


def _full(name: str, origin: str) -> str:
    # With the prefix, a browser takes the cookie from a secure origin only.
    return f"__Secure-{name}" if _is_secure(origin) else name


# Forms


def form_token(value: str, purpose: str) -> str:
    """The token of a form, for the browser whose cookie has this value."""
    return hmac.digest(value.encode(), purpose.encode(), hashlib.sha256).hex()


def check_form(request: Request, value: str, purpose: str, given: str) -> None:
    """Raises AccessDenied for a form that our own page did not send."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    is_ours = hmac.compare_digest(form_token(value, purpose).encode(), given.encode("utf-8", "surrogatepass"))
    if not value or not is_ours or site not in ("same-origin", "none"):
        raise AccessDenied("This form was not sent by this clinic's own page, or is too old. Go back and try again.")
