"""What signing in by password, by passkey and at a provider have in common: the session, the way on, the record."""

from urllib.parse import urlencode

from fastapi import Request, Response

from fhir_server.store.protocol import Unit
from smart_auth import asked, forms, pages, sessions
from smart_auth.accounts import Account
from smart_auth.authorize import COOKIE
from smart_auth.errors import OAuthError
from smart_auth.services import AuthEvent, EventKind, Services
from smart_auth.sessions import Session

BROWSER = "browser"  # the cookie of a browser in which nobody is signed in yet


async def open_session(
    services: Services, tenant: str, unit: Unit, request: Request, account: Account, began: int | None = None
) -> Session:
    """A new session in the place of the browser's former one; `began` is when the person proved who they are."""
    former = sessions.cookie(request, services.urls(tenant), COOKIE)
    if former:
        await sessions.end(unit, former)
    return await sessions.begin(unit, account, services.clock(), began)


async def go_on(services: Services, tenant: str, session: Session, query: str) -> Response:
    """On to what the person came for; only ever to this server's own authorize endpoint (no open redirect)."""
    urls = services.urls(tenant)
    url = f"{urls.issuer}/login"
    if query:
        try:
            url = f"{urls.issuer}/authorize?{(await asked.read(services, tenant, forms.pairs(query))).without_prompt()}"
        except (OAuthError, ValueError):
            url = f"{urls.issuer}/authorize?{urlencode(_pairs(query))}"
    answer = pages.redirect(url)
    sessions.set_cookie(answer, urls, COOKIE, session.value)
    return answer


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return forms.pairs(query)
    except ValueError:
        return []


async def record(
    services: Services, tenant: str, request: Request, kind: EventKind, account: Account | None, name: str,
    *, error: str = "", method: str = "",
) -> None:  # fmt: skip
    """Record what a person did or was refused; `name` '' where nobody has the name that was given."""
    await services.record(
        AuthEvent(
            tenant, services.clock(), kind, "refused" if error else "done", subject=name, error=error, method=method,
            request_id=forms.request_id(request), address=services.address_of(request),
            fhir_user=account.fhir_user if account is not None else "",
            role=account.role if account is not None else "",
        )
    )  # fmt: skip
