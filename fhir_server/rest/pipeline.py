"""The pipeline: every interaction passes the same steps, in this order, in this one place.

tenant from the base URL → agent from the token → grant for the interaction → validation → write rules and handler,
in one Unit → audit → commit → response. Refusals and failures pass the audit step too, and nobody is answered
before what they did is on disk. Entries of Bundles enter it again (`rest.entries`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from fhir_server.audit.event import Event
from fhir_server.audit.flood import Floods
from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Failed, FhirError
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.interactions import integrity, search_parameters
from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.clinic import Clinic, Server
from fhir_server.interactions.prefer import prefers
from fhir_server.interactions.repository import Repository
from fhir_server.rest import events, receive
from fhir_server.rest.entries import PipelineEntries, as_request
from fhir_server.rest.events import Decided
from fhir_server.rest.negotiate import JSON
from fhir_server.rest.request import Request, Response
from fhir_server.rest.respond import respond
from fhir_server.rest.running import RunningJobs
from fhir_server.rest.table import Found, Router
from fhir_server.store.protocol import Store, Unit

T = TypeVar("T")
Authenticate = Callable[[Clinic, str | None], Awaitable[Access]]
SERVER_LOG = ""
_NOBODY = Access(ANONYMOUS)  # until it is known who asks

_logger = logging.getLogger(__name__)


class Pipeline:
    """Performs requests against a store."""

    def __init__(
        self,
        server: Server,
        store: Store,
        clinics: Callable[[str], Awaitable[Clinic]],
        authenticate: Authenticate,
        forget: Callable[[str], None],
    ) -> None:
        self._server = server
        self._store = store
        self._clinics = clinics
        self._authenticate = authenticate
        self._forget = forget
        self.jobs = RunningJobs(store, server.clock)
        self.router = Router()
        self._floods = Floods()

    async def perform(self, request: Request, fault: FhirError | None = None) -> Response:
        """The response to a request; what happened is recorded before it is returned.

        `fault` is what is wrong with its body already (too long): the request is refused with it.
        """
        clinic: Clinic | None = None
        access = _NOBODY
        found: Found | None = None
        try:
            clinic = await self._clinics(request.tenant)
            try:
                found = receive.find(self.router, self._server, request.method, request.segments)
            except FhirError as error:  # raised once it is known who asks, so that it is recorded as theirs
                fault = without_traceback(error)
            access = await self._authenticate(clinic, request.headers.get("authorization"))
            if fault is not None:
                raise fault
            assert found is not None
            answer = await self._perform(request, clinic, access, found)
            try:
                return respond(request, clinic, answer)
            except Exception:  # the commit is done: nothing may say that it was not
                _logger.exception("an answer could not be written: request %s", request.request_id)
                return _unwritten(request)
        except FhirError as error:
            failure = without_traceback(error)
        except Exception:
            _logger.exception("%s failed: request %s", request.method, request.request_id)
            failure = Failed("The server failed to do this; nothing was changed. Its log has the request's id.")
        return respond(request, clinic, await self.refuse(request, clinic, access, found, failure))

    async def sum_up(self, *, all_: bool = False) -> None:
        """Record what was only counted in the minutes that are over, or until now."""
        for tenant, event in self._floods.ended(self._server.clock(), all_=all_):
            await self._store.record(tenant, [event.entry()])

    async def sum_up_floods(self) -> None:
        """Do so every second, for ever."""
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.sum_up()
            except FhirError:
                _logger.error("the count of refusals could not be recorded")

    async def _perform(self, request: Request, clinic: Clinic, access: Access, found: Found) -> Answer:
        receive.check_grant(access, found)
        call = receive.call_of(request, clinic, access, found)
        if found.interaction.body == "bundle":
            found = self._by_bundle(call, found)
            entries = PipelineEntries(self, self._server, request, clinic, access)
            call = replace(call, entries=entries)
        if found.interaction.outside is not None and access.agent != ANONYMOUS and prefers(call, "respond-async"):
            made = await self.jobs.start(call, lambda: self._answered(request, call, found))
            if made is not None:
                return made
        return await self.run(request, call, found)

    async def _answered(self, request: Request, call: Call, found: Found) -> Answer:
        """The answer to a request that nobody waits for; a refusal is an answer too, and is recorded."""
        try:
            return await self.run(request, call, found)
        except FhirError as error:
            failure = without_traceback(error)
        except Exception:
            _logger.exception("a job failed: request %s", request.request_id)
            failure = Failed("The server failed to do this. Its log has the request's id.")
        return await self.refuse(request, call.clinic, call.access, found, failure)

    def _by_bundle(self, call: Call, found: Found) -> Found:
        """The row by the Bundle's type: two interactions share a URL (FHIR R4 http.html#transaction)."""
        type_ = str(call.body.get("type"))
        row = self.router.named("transaction" if type_ == "history" else type_, "")
        if row is None:
            raise BadRequest(
                "The Bundle's type must be batch, transaction or history.", expression="Bundle.type", code="value"
            )
        return replace(found, interaction=row)

    async def run(self, request: Request, call: Call, found: Found) -> Answer:
        """Have the handler do it in a Unit, and record what it did."""
        interaction = found.interaction
        if interaction.prepare is not None:
            call = replace(call, body=interaction.prepare(call))
        recorder = events.Recorder(request, call.access, found)
        if interaction.outside is not None:
            answer = await interaction.outside(replace(call, units=PipelineUnits(self._store, call, request.address)))
            if interaction.action:
                await self._store.record(call.clinic.name, recorder.entries((), {}, self._server.clock()))
                self._forget(call.clinic.name)
            return answer

        async def work(unit: Unit) -> tuple[Answer, list[Event], Decided]:
            answer, done, decided = await handled(call, found, recorder, unit, request.address)
            if interaction.writes and interaction.name != "transaction":  # which has checked its entries
                await integrity.check(Repository(unit, call.clinic, call.access), answer.written)
            for event in done:
                await unit.audit(event.entry())
            return answer, done, decided

        clinic, writes, quick = call.clinic.name, interaction.writes, interaction.is_quick
        may_lag = not writes and interaction.name in self._server.settings.read_secondaries
        run = self._store.run(clinic, work, write=writes, quick=quick, may_lag=may_lag)
        answer, done, decided = await run
        if answer.written and any(stored.type == search_parameters.TYPE for stored in answer.written):
            self._forget(clinic)
        if not done and interaction.action and (writes or self._server.settings.audit_reads):
            # The time is that of now: the entries are made once the log's file can be written.
            await self._store.record(clinic, recorder.entries(answer.shown, decided, self._server.clock()))
        return answer

    async def refuse(
        self, request: Request, clinic: Clinic | None, access: Access, found: Found | None, error: FhirError
    ) -> Answer:
        """The answer to a refusal or failure, recorded first; what cannot be recorded is answered all the same."""
        tenant, now = clinic.name if clinic is not None else SERVER_LOG, self._server.clock()
        happened = [events.refusal(now, request, access, found, error)]
        if error.entry is not None and error.status < 500:  # a transaction's: one entry is what was refused
            asked = as_request(request, *error.entry)
            its = receive.found(self.router, self._server, asked)
            happened.insert(0, events.refusal(now, asked, access, its, error))
        happened = [
            event
            for event in happened
            if access.agent != ANONYMOUS or event.outcome != "4" or not self._floods.is_counted(tenant, event)
        ]
        try:
            if happened:
                await self._store.record(tenant, [event.entry() for event in happened])
        except FhirError as unrecorded:
            _logger.error("a refusal could not be recorded: request %s", request.request_id)
            error = unrecorded
        if found is not None and found.interaction.refused is not None and clinic is not None:
            told = found.interaction.refused(clinic, error)
            if told is not None:
                return told
        return Answer(error.status, json.serialise(operation_outcome(error.issues)), headers=dict(error.headers))


def _unwritten(request: Request) -> Response:
    """The response in place of one that could not be made, in the one form that needs no making."""
    failed = Failed("This was done, but its answer could not be written. The server's log has the request's id.")
    headers = {"x-request-id": request.request_id, "content-type": JSON, "cache-control": "no-store"}
    return Response(failed.status, headers, json.serialise(operation_outcome(failed.issues)))


def without_traceback(error: FhirError) -> FhirError:
    """A refusal that can be kept: its traceback has the frame that keeps it, a cycle for each refused request."""
    return error.with_traceback(None)


class PipelineUnits:
    """What `interactions.call.Units` asks, for one request."""

    def __init__(self, store: Store, call: Call, address: str) -> None:
        self._store, self._call, self._address = store, call, address

    async def step(self, work: Callable[[Repository], Awaitable[T]]) -> T:
        """What `work` returns, done in a writing Unit of its own."""

        async def do(unit: Unit) -> T:
            return await work(Repository(unit, self._call.clinic, self._call.access, address=self._address))

        return await self._store.run(self._call.clinic.name, do, write=True)


async def handled(
    call: Call, found: Found, recorder: events.Recorder, unit: Unit, address: str
) -> tuple[Answer, list[Event], Decided]:
    """What the handler answers, the events of what it changed, and which grants let through what it saw."""
    assert found.interaction.handler is not None
    repository = Repository(unit, call.clinic, call.access, address=address)
    answer = await found.interaction.handler(call, repository)
    answer.headers |= repository.headers
    changes, done = repository.changes, []
    if changes:
        answer.written = answer.written or [change.stored for change in changes]
        done = recorder.changes(changes, repository.decided, call.clinic.server.clock())
    if repository.noted:
        done += recorder.noted(repository.noted, call.clinic.server.clock())
    return answer, done, repository.decided
