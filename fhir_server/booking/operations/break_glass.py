"""Patient/{id}/$break-glass: a practitioner opens the record of a patient who is not under their care, in an emergency.

The caller says so (`purposeOfUse` BTG) and why. It is a Flag on the patient that anybody who treats them sees, tagged
by the server for the one practitioner, and good for an hour; the row filters of the access policy look for it. The
audit has an event of its own for it, and BTG as the purpose of whatever is read through it.
"""

from typing import Any

from fhir_server.booking.operations import parameters
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.errors import Forbidden, NotFound, Unprocessable
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.changes import Noted
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]

LASTS: Micros = 3_600_000_000
RULE = "R-6.3 provider breaks the glass"
_KNOWN = {"purposeOfUse": ("valueCode", 1), "reason": ("valueString", 1)}
_BTG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}
_CATEGORY = {"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "admin"}
_SHORTEST_REASON, _LONGEST_REASON = 10, 500


async def handle(call: Call, repository: Repository) -> Answer:
    """201 with the Flag. Raises Forbidden, BadRequest, Unprocessable, NotFound."""
    agent = repository.access.agent
    if agent.role != "practitioner" or not agent.is_human:
        raise Forbidden("Only a practitioner breaks the glass.")
    given = parameters.read(call, _KNOWN)
    if parameters.one(given, "purposeOfUse") != "BTG":
        raise Unprocessable("To break the glass, 'purposeOfUse' is BTG.", expression="Parameters.parameter")
    reason = parameters.one(given, "reason").strip()
    if not _SHORTEST_REASON <= len(reason) <= _LONGEST_REASON:
        raise Unprocessable(
            f"The reason is told in {_SHORTEST_REASON} to {_LONGEST_REASON} characters.",
            expression="Parameters.parameter",
        )
    if await repository.current("Patient", call.id) is None:
        raise NotFound("There is no such patient.")
    flag = _flag(call, agent.fhir_user, reason)
    stored = await repository.put(None, flag, rule=RULE)
    patients = (call.id,)
    repository.note(Noted("break-glass", f"Patient/{call.id}", patients, reason, RULE, "BTG"))
    location = f"{call.clinic.base_url}/Flag/{stored.id}/_history/{stored.version}"
    return Answer(201, stored.body or b"", stored, {"location": location})


def _flag(call: Call, practitioner: str, reason: str) -> Resource:
    now = call.clinic.server.clock()
    flag: Resource = {
        "resourceType": "Flag",
        "status": "active",
        "category": [{"coding": [_CATEGORY]}],
        "code": {"coding": [_BTG], "text": reason},
        "subject": {"reference": f"Patient/{call.id}"},
        "period": {"start": instant(now), "end": instant(now + LASTS)},
        "author": {"reference": practitioner},
    }
    own.tag(flag, own.BREAK_GLASS, practitioner.rpartition("/")[2])
    return flag


async def rule(_: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The write rule of Flag: of one that opens a record nothing but its end is written, and it stays."""
    if before is None or not any(tag["system"] == own.BREAK_GLASS for tag in own.own_tags(before)):
        return after
    ended = {**_content(before), "status": "inactive"}
    if after is None or _content(after) not in (ended, _content(before)):
        raise Forbidden("Of this Flag only the status is changed, to inactive.", expression="Flag")
    return after


def _content(flag: Resource) -> Resource:
    """What a Flag says, apart from what is written with every version."""
    content: Resource = json.copy({name: value for name, value in flag.items() if name != "meta"})
    return content
