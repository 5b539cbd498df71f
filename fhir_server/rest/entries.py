"""The entries of a batch or transaction, each through the pipeline's checks and audit (FHIR R4 http.html#trules)."""

import logging
from typing import TYPE_CHECKING

from fhir_server.fhir.errors import BadRequest, Failed, FhirError
from fhir_server.interactions.access import Access
from fhir_server.interactions.call import Answer, EntryRequest
from fhir_server.interactions.clinic import Clinic, Server
from fhir_server.rest import events, receive
from fhir_server.rest.request import Request
from fhir_server.rest.table import Found
from fhir_server.store.protocol import Unit

if TYPE_CHECKING:
    from fhir_server.rest.pipeline import Pipeline

_logger = logging.getLogger(__name__)


class PipelineEntries:
    """What `interactions.call.Entries` asks, for the Bundle of one request."""

    def __init__(self, pipeline: "Pipeline", server: Server, request: Request, clinic: Clinic, access: Access) -> None:
        self._pipeline, self._server, self._request = pipeline, server, request
        self._clinic, self._access = clinic, access

    async def alone(self, entry: EntryRequest) -> Answer:
        """The answer to an entry in a Unit of its own; a refusal is an answer too, and is recorded."""
        request, found = as_request(self._request, entry.method, entry.segments, entry.query), None
        try:
            found = receive.find(self._pipeline.router, self._server, entry.method, entry.segments)
            receive.check_grant(self._access, found)
            call = receive.entry_call(entry, self._clinic, self._access, found)
            if found.interaction.body in ("resource", "parameters"):
                receive.check_resource(self._server, entry.resource, receive.body_type(found))
            return await self._pipeline.run(request, call, found)
        except FhirError as error:
            failure = error
        except Exception:
            _logger.exception("an entry failed: request %s", request.request_id)
            failure = Failed("The server failed to do this entry; nothing of it was changed.")
        return await self._pipeline.refuse(request, self._clinic, self._access, found, failure)

    async def within(self, entry: EntryRequest, unit: Unit) -> Answer:
        """The answer to an entry in a Unit that is open, recorded in that Unit. Raises FhirError."""
        from fhir_server.rest.pipeline import handled

        request = as_request(self._request, entry.method, entry.segments, entry.query)
        found: Found = receive.find(self._pipeline.router, self._server, entry.method, entry.segments)
        receive.check_grant(self._access, found)
        call = receive.entry_call(entry, self._clinic, self._access, found)
        if found.interaction.handler is None:
            raise BadRequest("This operation is more than one Unit, and so no part of a transaction.")
        recorder = events.Recorder(request, self._access, found)
        answer, done, decided = await handled(call, found, recorder, unit, self._request.address)
        if not done and found.interaction.action and (found.interaction.writes or self._server.settings.audit_reads):
            done = recorder.seen(answer.shown, decided, self._server.clock())
        for event in done:
            await unit.audit(event.entry())
        return answer


def as_request(outer: Request, method: str, segments: tuple[str, ...], query: str) -> Request:
    """The entry of a Bundle as a request of its own."""
    return Request(method, outer.tenant, segments, query, outer.headers, b"", outer.address, outer.request_id)
