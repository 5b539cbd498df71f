"""EHR launch handles: what a portal has open when it starts an app (SMART App Launch 2.2.0 app-launch).

A handle is random, kept as SHA-256 for five minutes, used once, and good for the person who made it alone.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError, Unauthorized
from fhir_server.fhir.reference import is_id, local_reference
from fhir_server.interactions.access import Access
from fhir_server.store.protocol import Unit
from smart_auth import cors, forms, patients
from smart_auth.errors import AccessDenied, InvalidRequest, InvalidToken, OAuthError
from smart_auth.grants import digest
from smart_auth.services import AuthEvent, Services
from smart_auth.tokens import Verified, Verifier, bearer_token

KIND = "launch"
LIFETIME_IN_SECONDS = 300
SURFACES_ROLES = frozenset({"practitioner", "front-desk", "administrator", "patient", "proxy"})
_MEMBERS = {"client_id": str, "patient": str, "encounter": str, "intent": str, "need_patient_banner": bool,
            "fhirContext": list}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """What is open: `account` is who opened it, `client_id` the app that it is for ('' for any)."""

    account: str
    client_id: str = ""
    patient: str = ""
    encounter: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


async def make(unit: Unit, launch: Launch, now: Micros) -> str:
    """A handle for a launch."""
    handle = secrets.token_urlsafe(32)
    await unit.keep(KIND, digest(handle), json.dumps(asdict(launch)).encode(), now + LIFETIME_IN_SECONDS * 1_000_000)
    return handle


async def peek(unit: Unit, handle: str) -> Launch | None:
    """The launch of a handle that was not used yet."""
    stored = await unit.peek(KIND, digest(handle))
    return None if stored is None else Launch(**json.loads(stored))


async def use(unit: Unit, handle: str) -> bool:
    """Use the handle up; False when it was used already."""
    return await unit.take(KIND, digest(handle)) is not None


def routes(services: Services, verifier: Verifier) -> APIRouter:
    """`POST /launch`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.post("/launch")
    async def launch(request: Request, tenant: str) -> JSONResponse:
        """Make a launch handle for what a person has open in the provider portal (or their own portal)."""
        try:
            answer = JSONResponse(await _launch(services, verifier, tenant, request), 201, forms.NO_STORE)
        except Unauthorized as error:
            answer = JSONResponse(forms.error_body(InvalidToken(str(error))), 401, error.headers | forms.NO_STORE)
        except (OAuthError, FhirError) as error:
            answer = forms.refused(error)
        return await cors.for_client(services, tenant, request, {}, answer)

    @router.options("/launch")
    async def preflight(request: Request) -> JSONResponse:
        """The answer to a CORS preflight."""
        return cors.preflight(request)

    return router


async def _launch(services: Services, verifier: Verifier, tenant: str, request: Request) -> dict[str, Any]:
    token = bearer_token(request.headers.get("authorization"), services.urls(tenant).fhir_base)
    verified = await verifier.verify(tenant, token or "")
    launch = _read(await forms.read_body(request), verified)
    if launch.patient and not await patients.is_visible(services, tenant, verified.access, launch.patient):
        raise AccessDenied("There is no such patient for this person.")
    if launch.encounter and not await patients.has_encounter(
        services, tenant, verified.access, launch.patient, launch.encounter
    ):
        raise AccessDenied("There is no such encounter of this patient for this person.")

    async def work(unit: Unit) -> str:
        return await make(unit, launch, services.clock())

    handle = await services.store.run(tenant, work, write=True)
    agent = verified.agent
    await services.record(
        AuthEvent(
            tenant, services.clock(), "launch", "done", client_id=agent.client_id, subject=verified.subject,
            token_id=agent.token_id, fhir_user=agent.fhir_user, role=agent.role, request_id=forms.request_id(request),
            address=services.address_of(request), patients=(launch.patient,) if launch.patient else (),
        )
    )  # fmt: skip
    return {"launch": handle, "iss": services.urls(tenant).fhir_base, "expires_in": LIFETIME_IN_SECONDS}


def _read(body: bytes, verified: Verified) -> Launch:
    """The launch that is asked for. Raises InvalidRequest, AccessDenied."""
    agent = verified.agent
    if agent.role not in SURFACES_ROLES or not agent.is_human or not _has_scopes(verified.access):
        raise AccessDenied("A launch is made with the token of a person.")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body must be a JSON object.") from error
    if not isinstance(given, dict) or not given.keys() <= _MEMBERS.keys():
        raise InvalidRequest(f"The body is a JSON object of {', '.join(_MEMBERS)}.")
    for name, value in given.items():
        if not isinstance(value, _MEMBERS[name]) or (isinstance(value, str) and len(value) > 200):
            raise InvalidRequest(f"'{name}' is of another type, or too long.")
    patient, encounter = given.get("patient", ""), given.get("encounter", "")
    if any(value and not is_id(value) for value in (patient, encounter)) or (encounter and not patient):
        raise InvalidRequest("patient and encounter are ids; an encounter goes with its patient.")
    _check_context(given.get("fhirContext", []))
    kept = {
        name: given[name] for name in ("intent", "need_patient_banner", "fhirContext") if given.get(name) is not None
    }
    return Launch(verified.subject, given.get("client_id", ""), patient, encounter, kept)


def _has_scopes(access: Access) -> bool:
    return bool(access.grants)


def _check_context(context: list[Any]) -> None:
    """What is open beyond patient and encounter (SMART App Launch 2.2.0 `fhirContext`). Raises InvalidRequest."""
    for item in context if len(context) <= 20 else [None]:
        if not isinstance(item, dict) or not item.keys() <= {"reference", "canonical", "identifier", "type", "role"}:
            raise InvalidRequest("fhirContext is an array of at most 20 objects.")
        if not {"reference", "canonical", "identifier"} & item.keys() or item.get("role") == "":
            raise InvalidRequest("Each of fhirContext has a reference, canonical or identifier, and no empty role.")
        target = local_reference(str(item.get("reference", ""))) if "reference" in item else None
        if "reference" in item and target is None:
            raise InvalidRequest("A reference of fhirContext is relative.")
        if target and target.type in ("Patient", "Encounter") and item.get("role", "launch") == "launch":
            raise InvalidRequest("The patient and encounter that are open are named beside fhirContext.")
