"""The states of an appointment: which follow which, and who may take each step (IS-01 §7, §10; R-10.1 to R-10.4).

`STEPS` is the whole rule: from-status × to-status × who may. What no row names is refused. The status None is that of
an appointment that is not there yet. Staff are practitioners and the front desk, and always people: a client without
a human behind it decides nothing (R-10.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.fhir.errors import Forbidden, Unprocessable
from fhir_server.interactions.access import Agent, Role

# While an appointment is in one of these, it takes its slots and its actors' time.
OCCUPYING = frozenset({"booked", "arrived", "checked-in", "fulfilled"})
# A proposal that nobody has decided on.
OPEN = frozenset({"proposed", "pending", "waitlist"})

STAFF: tuple[Role, ...] = ("practitioner", "front-desk")
SUBMITTERS: tuple[Role, ...] = ("public", "website", "patient", "proxy")
PATIENTS: tuple[Role, ...] = ("patient", "proxy")
ANYONE: tuple[Role, ...] = (*STAFF, *SUBMITTERS, "service", "administrator")


@dataclass(frozen=True, slots=True)
class Step:
    """From one of `before` to `after`, by one of `who`; `needs_human` refuses clients that act for themselves."""

    before: tuple[str | None, ...]
    after: str
    who: tuple[Role, ...]
    needs_human: bool = True


STEPS: tuple[Step, ...] = (
    Step((None,), "proposed", ANYONE, needs_human=False),
    Step((None,), "pending", STAFF),
    Step((None,), "booked", STAFF),
    Step((None, "proposed", "pending"), "waitlist", STAFF),
    Step(("proposed", "waitlist"), "pending", STAFF),
    Step(("waitlist",), "proposed", STAFF),
    Step(("proposed", "pending", "waitlist"), "booked", STAFF),
    Step(("booked",), "arrived", STAFF),
    Step(("booked", "arrived"), "checked-in", STAFF),
    Step(("booked", "arrived", "checked-in"), "fulfilled", STAFF),
    Step(("booked", "arrived", "checked-in"), "noshow", STAFF),
    Step(("proposed", "pending", "waitlist", "booked", "arrived", "checked-in"), "cancelled", STAFF),
    Step(("proposed", "pending", "waitlist", "booked"), "cancelled", PATIENTS),
    Step(("proposed", "pending"), "cancelled", ("public", "website"), needs_human=False),
    Step(
        ("proposed", "pending", "waitlist", "booked", "arrived", "checked-in", "fulfilled", "noshow", "cancelled"),
        "entered-in-error",
        STAFF,
    ),
)


def check(agent: Agent, before: str | None, after: str) -> None:
    """Whether the agent may take an appointment from one status to another. Raises Unprocessable, Forbidden.

    Staff may change an appointment that stays in its status; a patient or submitter may not.
    """
    if before == after:
        if agent.role not in STAFF or not agent.is_human:
            raise Forbidden("Only staff change an appointment otherwise than by its status.", expression="Appointment")
        return
    steps = [step for step in STEPS if before in step.before and step.after == after]
    if not steps:
        raise Unprocessable(
            f"An appointment cannot go from {before or 'nothing'} to {after}; from there it can become: "
            f"{', '.join(allowed(before)) or 'nothing else'}.",
            expression="Appointment.status",
        )
    mine = [step for step in steps if agent.role in step.who]
    if not mine:
        raise Forbidden(
            f"The role {agent.role} may not take an appointment from {before or 'nothing'} to {after}; "
            f"{' or '.join(sorted({role for step in steps for role in step.who}))} may.",
            expression="Appointment.status",
        )
    if all(step.needs_human for step in mine) and not agent.is_human:
        raise Forbidden(
            "This needs a person: a client that acts for itself cannot decide on an appointment.",
            expression="Appointment.status",
        )


def allowed(before: str | None) -> Iterable[str]:
    """The statuses that may follow one."""
    return dict.fromkeys(step.after for step in STEPS if before in step.before)
