"""The authorize endpoint and the consent page (RFC 6749 §4.1.1, RFC 9207, SMART App Launch 2.2.0, RFC 9700).

A GET shows pages and changes nothing; only the consent form, which its own page must have sent, makes a code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Request, Response

from fhir_server.fhir.errors import FhirError
from fhir_server.fhir.reference import is_id, local_reference
from fhir_server.store.protocol import Unit
from smart_auth import asked as asking
from smart_auth import authenticate, forms, grants, launches, pages, patients, redirects, scope_words, sessions
from smart_auth.accounts import Account
from smart_auth.asked import Asked
from smart_auth.clients import PEOPLE
from smart_auth.errors import (
    AccessDenied,
    AuthorizationError,
    ConsentRequired,
    InvalidRequest,
    InvalidScope,
    LoginRequired,
    OAuthError,
)
from smart_auth.launches import Launch
from smart_auth.scopes import AnyScope
from smart_auth.services import AuthEvent, EventKind, Services
from smart_auth.sessions import Session

COOKIE = "session"
PURPOSE = "consent"


@dataclass(frozen=True, slots=True)
class Form:
    """What the person answered: the button, the chosen patient, the scopes left ticked, the name sought."""

    action: str = ""
    patient: str = ""
    scopes: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """One person's request in the making."""

    services: Services
    tenant: str
    request: Request
    asked: Asked
    session: Session
    launch: Launch | None

    @property
    def account(self) -> Account:
        """Who is signed in."""
        return self.session.account


def routes(services: Services) -> APIRouter:
    """`/authorize` and `/consent`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.get("/authorize")
    async def authorize(request: Request, tenant: str) -> Response:
        """Ask a person to let an app act for them (RFC 6749 section 4.1.1)."""
        return await _answer(services, tenant, request, request.url.query, None)

    @router.post("/authorize")
    async def authorize_post(request: Request, tenant: str) -> Response:
        """The same by form (SMART `authorize-post`); answered by GET, with which the session's cookie comes."""
        try:
            return pages.redirect(
                f"{services.urls(tenant).issuer}/authorize?{urlencode(await forms.read_pairs(request))}"
            )
        except OAuthError as error:
            return pages.failure(services.urls(tenant), error.description, error.status)

    @router.post("/consent")
    async def consent(request: Request, tenant: str) -> Response:
        """What the person answered."""
        try:
            given = await forms.read_pairs(request)
            session = await find_session(services, tenant, request)
            fields = dict(given)
            sessions.check_form(request, session.value if session else "", PURPOSE, fields.get("form_token", ""))
        except (OAuthError, FhirError) as error:
            return pages.failure(services.urls(tenant), str(error), error.status)
        form = Form(
            fields.get("action", ""),
            fields.get("patient", ""),
            tuple(value for name, value in given if name == "scope"),
            fields.get("name", ""),
        )
        return await _answer(services, tenant, request, fields.get("request", ""), form)

    return router


async def find_session(services: Services, tenant: str, request: Request) -> Session | None:
    """The session of the browser, its use noted."""
    value = sessions.cookie(request, services.urls(tenant), COOKIE)

    async def find(unit: Unit) -> Session | None:
        return await sessions.find(unit, value)

    session = await services.store.run(tenant, find, write=False, quick=True) if value else None
    if session is not None and sessions.is_due(session, services.clock()):

        async def renew(unit: Unit) -> None:
            await sessions.renew(unit, session, services.clock())

        await services.store.run(tenant, renew, write=True)
    return session


async def _answer(services: Services, tenant: str, request: Request, query: str, form: Form | None) -> Response:
    urls = services.urls(tenant)
    state = ""
    try:
        pairs = forms.pairs(query)
        state = dict(pairs).get("state", "")
        asked = await asking.read(services, tenant, pairs)
        try:
            return await _step(services, tenant, request, asked, form)
        except OAuthError as error:
            raise AuthorizationError(asked.redirect_uri, error) from error
    except AuthorizationError as error:
        await record(services, tenant, request, query, error.error)
        told = {"error": error.error.code, "error_description": error.description, "state": state, "iss": urls.issuer}
        told = {name: value for name, value in told.items() if value}
        return pages.redirect(redirects.join(error.redirect_uri, told))
    except OAuthError as error:
        await record(services, tenant, request, query, error)
        return pages.failure(urls, error.description, 400)
    except FhirError as error:
        return pages.failure(urls, str(error), error.status)
    except ValueError:
        return pages.failure(urls, "The request is not form-encoded UTF-8.", 400)


async def _step(services: Services, tenant: str, request: Request, asked: Asked, form: Form | None) -> Response:
    """The page that comes next, or the redirect with a code."""
    session = await find_session(services, tenant, request)
    login = pages.redirect(f"{services.urls(tenant).issuer}/login?{urlencode({'request': asked.query})}")
    if session is None or _is_too_old(services, asked, session):
        if "none" in asked.prompt:
            raise LoginRequired("Nobody is signed in.")
        return login
    if session.account.role not in PEOPLE[asked.client.surface]:
        if "none" in asked.prompt or form is not None:
            raise AccessDenied("This person does not use this app.")
        return login
    if form is None and "none" in asked.prompt:
        raise ConsentRequired("Consent is asked for each time.")
    visit = Visit(services, tenant, request, asked, session, await _launch(services, tenant, asked, session))
    form = form or Form()
    if form.action == "deny":
        raise AccessDenied("The person refused.")
    granted = _ticked(asked, form) if form.action == "allow" else asked.scopes
    patient = ""
    if asking.needs_patient(granted) or (visit.launch is not None and visit.launch.patient):
        patient = await _patient(visit, form)
        if not patient:
            return await _picker(visit, form)
    if form.action == "allow":
        return await _code(visit, granted, patient)
    return await _consent(visit, patient)


def _is_too_old(services: Services, asked: Asked, session: Session) -> bool:
    age = (services.clock() - session.began) // 1_000_000
    # After signing in again the request comes back without prompt and max_age.
    return "login" in asked.prompt or (asked.max_age_in_seconds is not None and age > asked.max_age_in_seconds)


def _ticked(asked: Asked, form: Form) -> tuple[AnyScope, ...]:
    granted = tuple(scope for scope in asked.scopes if scope.text in form.scopes)
    if not granted:
        raise AccessDenied("The person granted nothing.")
    return granted


async def _launch(services: Services, tenant: str, asked: Asked, session: Session) -> Launch | None:
    """What the portal has open. Raises InvalidRequest for a handle that is not this person's, or not any more."""
    if not asked.launch:
        return None

    async def find(unit: Unit) -> Launch | None:
        return await launches.peek(unit, asked.launch)

    launch = await services.store.run(tenant, find, write=False, quick=True)
    if launch is None or launch.account != session.account.name or launch.client_id not in ("", asked.client.client_id):
        raise InvalidRequest(
            "The launch is unknown, used, expired, of another person or for another app; launch again."
        )
    return launch


async def _patient(visit: Visit, form: Form) -> str:
    """The id of the patient in context; '' while it is to be chosen. Raises AccessDenied."""
    services, tenant, account = visit.services, visit.tenant, visit.account
    opened = visit.launch.patient if visit.launch is not None else ""
    own = ""
    if account.role == "patient":
        who = local_reference(account.fhir_user)
        own = who.id if who is not None else ""
    elif account.role == "proxy":
        own = await patients.of_proxy(services, tenant, account.fhir_user)
    if account.role in ("patient", "proxy"):
        if not own or opened not in ("", own):
            raise AccessDenied("This person may not act for that patient.")
        return own
    wanted = opened or form.patient
    if not wanted:
        return ""
    access = await patients.persons_access(services, tenant, account, visit.asked.client.surface)
    if not is_id(wanted) or not await patients.is_visible(services, tenant, access, wanted):
        raise AccessDenied("There is no such patient for this person.")
    return wanted


async def _picker(visit: Visit, form: Form) -> Response:
    services, tenant = visit.services, visit.tenant
    access = await patients.persons_access(services, tenant, visit.account, visit.asked.client.surface)
    if not access.of("Patient", "s"):
        raise AccessDenied("This person may not choose patients.")
    found = await patients.find(services, tenant, access, form.name)
    await _record(
        visit, "patient-search", query=f"Patient?name={form.name[:100]}", about=tuple(patient.id for patient in found)
    )
    return _page(
        visit,
        "picker",
        name=form.name,
        patients=found[: patients.LISTED],
        more=len(found) > patients.LISTED,
        error="Choose a patient first." if form.action in ("choose", "allow") else "",
    )


async def _consent(visit: Visit, patient: str) -> Response:
    asked = visit.asked
    shown = ""
    if patient:
        access = await patients.persons_access(
            visit.services, visit.tenant, visit.account, asked.client.surface, patient
        )
        listed = await patients.peek(visit.services, visit.tenant, access, patient)
        if listed is None:
            raise AccessDenied("There is no such patient for this person.")
        shown = f"{listed.name} ({listed.about})" if listed.about else listed.name
    return _page(
        visit,
        "consent",
        patient=shown,
        patient_id=patient,
        scopes=[{"text": scope.text, "words": scope_words.words(scope)} for scope in asked.scopes],
        destination=urlsplit(asked.redirect_uri).netloc or asked.redirect_uri,
        error="",
    )


def _page(visit: Visit, template: str, /, **values: Any) -> Response:
    account, asked = visit.account, visit.asked
    return pages.page(
        template,
        visit.services.urls(visit.tenant),
        form_targets=asked.form_targets,
        person=account.display or account.name,
        app=asked.app,
        request=asked.query,
        form_token=sessions.form_token(visit.session.value, PURPOSE),
        **values,
    )


async def _code(visit: Visit, granted: Sequence[AnyScope], patient: str) -> Response:
    """The redirect with a code; the launch handle is used up with it. Raises OAuthError."""
    services, asked, launch = visit.services, visit.asked, visit.launch
    if any(scope.text for scope in granted if scope not in asked.scopes):
        raise InvalidScope("More was granted than asked for.")
    authorization = grants.Authorization(
        grant=services.ids.resource_id(),
        client_id=asked.client.client_id,
        account=visit.account.name,
        scopes=tuple(scope.text for scope in granted),
        redirect_uri=asked.redirect_uri,
        challenge=asked.challenge,
        session=visit.session.digest,
        signed_in=visit.session.began // 1_000_000,
        patient=patient,
        encounter=launch.encounter if launch is not None else "",
        nonce=asked.nonce,
        context=launch.context if launch is not None else {},
    )

    async def work(unit: Unit) -> str | None:
        is_open = await sessions.is_open(unit, authorization.session)
        if not is_open or (asked.launch and not await launches.use(unit, asked.launch)):
            return None
        return await grants.new_code(unit, authorization, services.clock())

    code = await services.store.run(visit.tenant, work, write=True)
    if code is None:
        raise InvalidRequest("The launch was used already, or the person signed out; begin again.")
    await _record(visit, "consent", scope=" ".join(authorization.scopes), about=(patient,) if patient else ())
    answer = {"code": code, "state": asked.state, "iss": services.urls(visit.tenant).issuer}
    return pages.redirect(redirects.join(asked.redirect_uri, answer))


async def _record(
    visit: Visit, kind: EventKind, *, scope: str = "", query: str = "", about: tuple[str, ...] = ()
) -> None:
    services, account = visit.services, visit.account
    await services.record(
        AuthEvent(
            visit.tenant, services.clock(), kind, "done", client_id=visit.asked.client.client_id, subject=account.name,
            scope=scope, request_id=forms.request_id(visit.request), address=services.address_of(visit.request),
            fhir_user=account.fhir_user, role=account.role, query=query, patients=about,
        )
    )  # fmt: skip


async def record(services: Services, tenant: str, request: Request, query: str, error: OAuthError) -> None:
    """Record a refused authorization request."""
    given: Mapping[str, str] = dict(forms.pairs(query))
    claimed = await authenticate.registered(services, tenant, given.get("client_id", ""))
    await services.record(
        AuthEvent(
            tenant, services.clock(), "authorize", "refused", client_id=claimed,
            error=error.code, description=error.description, request_id=forms.request_id(request),
            address=services.address_of(request),
        )
    )  # fmt: skip
