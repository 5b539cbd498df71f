"""The pipeline: every interaction passes the same steps, in this order, in this one place.

tenant from the base URL → agent from the token → grant for the interaction → validation → write rules and handler,
in one Unit → audit → commit → response. Refusals and failures pass the audit step too, and nobody is answered
before what they did is on disk.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fhir_server.audit.event import Event
from fhir_server.fhir import json, reference
from fhir_server.fhir.errors import BadRequest, Failed, FhirError, Forbidden, NotAllowed, NotFound, Unprocessable
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.clinic import Clinic, Server
from fhir_server.interactions.repository import Repository
from fhir_server.rest import events, negotiate
from fhir_server.rest.request import Request, Response
from fhir_server.rest.respond import respond
from fhir_server.rest.table import Found, Router
from fhir_server.search.parse import pairs
from fhir_server.store.protocol import Store, Unit

Authenticate = Callable[[Clinic, str | None], Awaitable[Access]]
SERVER_LOG = ""

_logger = logging.getLogger(__name__)


class Pipeline:
    """Performs requests against a store."""

    def __init__(
        self,
        server: Server,
        store: Store,
        clinics: Callable[[str], Awaitable[Clinic]],
        authenticate: Authenticate,
    ) -> None:
        self._server = server
        self._store = store
        self._clinics = clinics
        self._authenticate = authenticate
        self._router = Router()

    async def perform(self, request: Request, fault: FhirError | None = None) -> Response:
        """The response to a request; what happened is recorded before it is returned.

        `fault` is what is wrong with its body already (too long): the request is refused with it.
        """
        clinic: Clinic | None = None
        access = Access(ANONYMOUS)
        found: Found | None = None
        try:
            clinic = await self._clinics(request.tenant)
            found = self._find(request)
            access = await self._authenticate(clinic, request.headers.get("authorization"))
            if fault is not None:
                raise fault
            answer = await self._perform(request, clinic, access, found)
            return respond(request, clinic, answer)
        except FhirError as error:
            failure = error
        except Exception:
            _logger.exception("%s failed: request %s", request.method, request.request_id)
            failure = Failed("The server failed to do this; nothing was changed. Its log has the request's id.")
        return await self._refuse(request, clinic, access, found, failure)

    def _find(self, request: Request) -> Found:
        """The row for the request. Raises NotFound for an unknown type or path, NotAllowed for the method."""
        found = self._router.find(request.method, request.segments)
        type_ = request.segments[0] if request.segments else ""
        is_type = type_ in self._server.definitions.resource_types
        if found is None:
            methods = self._router.methods(request.segments)
            if methods and (is_type or type_[:1] == "_" or type_ == "metadata"):
                allowed = ", ".join(dict.fromkeys(methods))
                raise NotAllowed(f"Here this server takes {allowed}.", headers={"Allow": allowed})
            if is_type and type_ in ("AuditEvent",):
                raise NotAllowed(
                    "AuditEvents are written by the server alone, and never changed.", headers={"Allow": "GET"}
                )
            raise NotFound("There is nothing at this path.")
        if not is_type and (found.type or "" in request.segments):
            raise NotFound(f"'{type_[:64]}' is no resource type of FHIR R4.", code="not-supported")
        if found.id and not reference.is_id(found.id):
            raise NotFound("There is no such resource here.")
        return found

    async def _perform(self, request: Request, clinic: Clinic, access: Access, found: Found) -> Answer:
        interaction = found.interaction
        if interaction.letter and not access.of(found.type, interaction.letter):
            raise Forbidden(f"Nothing grants this caller {interaction.name} on {found.type}.")
        call = self._call(request, clinic, access, found)
        recorder = events.Recorder(self._server.clock, request, access, found)

        calls = iter((call,))

        async def work(unit: Unit) -> tuple[Answer, list[Event]]:
            repository = Repository(unit, clinic, access)
            # A store may run this again; rules change the body, so a second run gets one of its own.
            this = next(calls, None) or self._call(request, clinic, access, found)
            answer = await interaction.handler(this, repository)
            answer.headers |= repository.headers
            done = recorder.changes(repository.changes)
            for event in done:
                await unit.audit(event.entry())
            return answer, done

        writes, quick = interaction.writes, interaction.is_quick
        answer, done = await self._store.run(clinic.name, work, write=writes, quick=quick)
        if not done and interaction.action and (writes or self._server.settings.audit_reads):
            seen = recorder.seen(answer.shown)
            await self._store.record(clinic.name, [event.entry() for event in seen])
        return answer

    def _call(self, request: Request, clinic: Clinic, access: Access, found: Found) -> Call:
        """The request as its handler takes it, validated. Raises what is wrong with it."""
        negotiate.check_accept(request.headers, request.query)
        query = pairs(request.query) if request.query else []
        call = Call(clinic, access, found.type, found.id, found.version, query, request.headers)
        body = found.interaction.body
        if not body:
            return call
        negotiate.check_content_type(request.headers, body)
        if body == "form":
            return replace(call, query=[*query, *negotiate.form(request.body)])
        if not request.body:
            raise BadRequest("The request has no body.", code="required")
        parsed = json.parse(request.body)
        if body in ("resource", "parameters"):
            self._validate(parsed, found.type if body == "resource" else "Parameters")
        return replace(call, body=parsed)

    def _validate(self, resource: object, type_: str) -> None:
        if not isinstance(resource, dict):
            raise BadRequest("The body must be a resource: a JSON object with a resourceType.", code="structure")
        given = resource.get("resourceType")
        if given != type_:
            raise BadRequest(
                f"The body's resourceType must be '{type_}' here.", expression="resourceType", code="structure"
            )
        issues = self._server.structure.check(resource, expected_type=type_)
        if issues:
            raise Unprocessable(issues=issues)

    async def _refuse(
        self, request: Request, clinic: Clinic | None, access: Access, found: Found | None, error: FhirError
    ) -> Response:
        """The answer to a refusal or failure, recorded first; what cannot be recorded is answered all the same."""
        event = events.refusal(self._server.clock(), request, access, found, error)
        try:
            await self._store.record(clinic.name if clinic is not None else SERVER_LOG, [event.entry()])
        except FhirError as unrecorded:
            _logger.error("a refusal could not be recorded: request %s", request.request_id)
            error = unrecorded
        answer = Answer(error.status, json.serialise(operation_outcome(error.issues)), headers=dict(error.headers))
        return respond(request, clinic, answer)
