"""Who takes part: people and things that the clinic knows, under the name that they have now (R-10.6, R-10.10).

Somebody who was merged into another Patient is booked as that one: under two names one person could be in two places.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from fhir_server.booking.identity import names_a_patient
from fhir_server.booking.merging import KIND, guard_name, target_of
from fhir_server.booking.states import STAFF
from fhir_server.fhir.errors import Unprocessable
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]


async def check(repository: Repository, before: Resource | None, after: Resource) -> None:
    """Whom a write newly names is there, and nobody else by now. Raises Unprocessable that names the participant."""
    for n, target in _new(repository, before, after):
        at = f"Appointment.participant[{n}].actor"
        if target.type == "Patient":
            await repository.unit.guard(guard_name(target.id))
            kept = await repository.unit.peek(KIND, target.id)
            if kept is not None:
                text = f"{target} was merged into Patient/{target_of(kept)}; name that one."
                raise Unprocessable(text, expression=at)
        # Staff alone: a client of another system may send people along in the same transaction, in any order.
        if repository.access.agent.role in STAFF and await repository.current(target.type, target.id) is None:
            raise Unprocessable(f"There is no such {target.type} here.", expression=at)


def check_named(appointment: Resource, actors: Iterable[str]) -> None:
    """Beside patients only these are named: nobody else's time is an outsider's to take. Raises Unprocessable."""
    known = frozenset(actors)
    for n, participant in enumerate(appointment.get("participant", ())):
        reference = participant.get("actor", {}).get("reference", "")
        if reference and reference not in known and not names_a_patient(participant):
            raise Unprocessable(
                f"{reference} does not come with the slot; leave it out, or choose a slot of theirs.",
                expression=f"Appointment.participant[{n}]",
            )


def ask(appointment: Resource, actors: Iterable[str]) -> None:
    """Of these, who declined is asked anew: for an appointment that they have not answered."""
    for _, participant in _declined(appointment, actors):
        participant["status"] = "needs-action"


def ask_all(appointment: Resource) -> None:
    """Nobody has answered but the patients: whoever comes from outside says nothing for others."""
    for participant in appointment.get("participant", ()):
        if not names_a_patient(participant):
            participant["status"] = "needs-action"


def require_actors(appointment: Resource, actors: Iterable[str]) -> None:
    """The actors of its slots' schedules take part in what is booked: their time is taken. Raises Unprocessable."""
    for n, participant in _declined(appointment, actors):
        raise Unprocessable(
            f"{participant['actor']['reference']} comes with the slot, and declined; choose another slot, or say that "
            "they take part.",
            expression=f"Appointment.participant[{n}].status",
        )


def _declined(appointment: Resource, actors: Iterable[str]) -> list[tuple[int, Resource]]:
    actors = frozenset(actors)
    return [
        (n, participant)
        for n, participant in enumerate(appointment.get("participant", ()))
        if participant.get("status") == "declined" and participant.get("actor", {}).get("reference") in actors
    ]


def require_patient(appointment: Resource) -> None:
    """Somebody is booked for. Raises Unprocessable."""
    if not any(names_a_patient(each) for each in appointment.get("participant", ())):
        raise Unprocessable("Say for whom it is booked: a Patient takes part.", expression="Appointment.participant")


def _new(repository: Repository, before: Resource | None, after: Resource) -> Iterator[tuple[int, LocalReference]]:
    known = {str(p.get("actor", {}).get("reference", "")) for p in (before or {}).get("participant", ())}
    for n, participant in enumerate(after.get("participant", ())):
        text = str(participant.get("actor", {}).get("reference", ""))
        target = local_reference(text, repository.clinic.base_url)
        if target is not None and text not in known:
            yield n, target
