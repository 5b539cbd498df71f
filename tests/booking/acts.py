"""What people do to a clinic's books in the tests of `machine`: each act by each way of writing, from each surface."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from fhir_server.booking import sweeper
from fhir_server.fhir import own
from tests.harness import (
    DAY,
    FHIR_JSON,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

Resource = dict[str, Any]

# a and b overlap, on two schedules of dr-lee, one of them as a role; c and q overlap, both dr-kim's; g takes two.
SLOTS = ("a", "b", "c", "g", "q")
CAPACITY = {"a": 1, "b": 1, "c": 1, "g": 2, "q": 1}
BRINGS = {"a": "Practitioner/dr-lee", "b": "Practitioner/dr-lee"} | dict.fromkeys("cgq", "Practitioner/dr-kim")
STATUSES = ("pending", "booked", "booked", "arrived", "checked-in", "fulfilled", "noshow", "cancelled", "waitlist",
            "entered-in-error", "proposed")  # fmt: skip
CALLERS = ("dr-lee", "dr-kim", "sam", "sam", "anna", "ben", "anna-on-website", "website", "backend", "admin", "root",
           "anonymous")  # fmt: skip
WAYS = ("put", "json patch", "merge patch", "fhirpath patch", "conditional put", "conditional patch", "batch",
        "transaction")  # fmt: skip
PEOPLE = ("anna", "ben")
_MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Act:
    """Who does what: `n` chooses among what there is, `status` and `slot` are what it is to become or take."""

    name: str
    n: int
    slot: str
    status: str
    caller: str
    way: str


async def clinic_of(harness: Harness) -> None:
    """A clinic with an auto-confirmed service, one that holds and may be overridden, and a group."""
    at = harness.slot
    await harness.seed(
        *map(practitioner, ("dr-lee", "dr-kim")),
        *map(patient, PEOPLE),
        service("care", hold_minutes=30, override=True, withdrawal=True, review_hours=1, cancellation_window_hours=1),
        service("group", capacity=2, withdrawal=True),
        service("quick", auto_confirm=True, risk="low"),
        {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "Practitioner/dr-lee"}},
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        schedule("lee-too", "PractitionerRole/role"),
        schedule("kim", "Practitioner/dr-kim", "HealthcareService/care"),
        schedule("group", "Practitioner/dr-kim", "HealthcareService/group"),
        schedule("quick", "Practitioner/dr-kim", "HealthcareService/quick"),
        at("a", 2 * DAY),
        at("b", 2 * DAY + 15 * MINUTE, schedule="lee-too"),
        at("c", 2 * DAY, schedule="kim"),
        at("g", 2 * DAY + HOUR, schedule="group"),
        at("q", 2 * DAY + 15 * MINUTE, schedule="quick"),
    )


@dataclass
class Acting:
    """Performs acts; remembers the appointments that were made, held and offered."""

    harness: Harness
    made: list[str] = field(default_factory=list)

    async def perform(self, act: Act) -> None:
        """Do it; it may be refused, and must not fail."""
        answer = await ACTS[act.name](self, act)
        if answer is None:
            return
        assert answer.status_code < 500, (act, answer.text)
        self._learn(answer.json() if answer.content else {})

    def _learn(self, body: Any) -> None:
        if body.get("resourceType") == "Appointment" and body["id"] not in self.made:
            self.made.append(body["id"])
        for entry in body.get("entry", ()):
            if entry.get("search", {}).get("mode") == "match" or "response" in entry:
                self._learn(entry.get("resource", {}))

    def chosen(self, act: Act) -> str:
        """The appointment that the act is about; '' when there is none yet."""
        return self.made[act.n % len(self.made)] if self.made else ""

    # Acts

    async def propose(self, act: Act) -> httpx.Response:
        if act.caller in ("anna", "ben", "anna-on-website"):
            return await self.harness.create(self._new("proposed", act.caller[:4].strip("-"), act.slot), act.caller)
        caller = act.caller if act.caller in ("website", "anonymous") else "anonymous"
        headers = {"Idempotency-Key": f"k{act.n}"} if act.n % 2 else {}
        made = proposal(act.slot)
        if act.n % 5 == 0:  # and says for the practitioner that they will not come
            made["participant"].append({"actor": {"reference": BRINGS[act.slot]}, "status": "declined"})
        return await self.harness.create(made, caller, headers=headers)

    async def make(self, act: Act) -> httpx.Response:
        """An appointment of staff: with slots, or with a time only; perhaps on condition that there is none."""
        status = act.status if act.status in ("proposed", "pending", "waitlist") else "booked"
        slots = (act.slot,) if act.n % 3 else ()
        made = self._new(status, PEOPLE[act.n % 2], *slots)
        if not slots:
            begin = 2 * DAY + (act.n % 7) * 15 * MINUTE
            made |= {"start": self._at(begin), "end": self._at(begin + 30 * MINUTE)}
            made["participant"].append({"actor": {"reference": f"Practitioner/dr-{'lee' if act.n % 2 else 'kim'}"},
                                        "status": "accepted"})  # fmt: skip
        condition = {"If-None-Exist": f"patient=Patient/{PEOPLE[act.n % 2]}&status={status}"} if act.n % 4 == 0 else {}
        return await self.harness.create(made, act.caller, headers=condition)

    async def move(self, act: Act) -> httpx.Response | None:
        """To another status."""
        reason = {"cancelationReason": {"text": "not possible"}} if act.status == "cancelled" else {}
        return await self._change(act, {"status": act.status} | reason)

    async def decline(self, act: Act) -> httpx.Response | None:
        """The front desk says that no provider comes, or that the patient does not."""
        current = await self._read(act)
        if current is None:
            return None
        said = "Patient/" if act.n % 4 == 3 else "Practitioner"
        parts = [
            part | ({"status": "declined"} if part["actor"].get("reference", "").startswith(said) else {})
            for part in current["participant"]
        ]
        return await self._change(replace(act, caller="sam"), {"participant": parts})

    async def rebook(self, act: Act) -> httpx.Response | None:
        """To another slot."""
        return await self._change(act, {"slot": [{"reference": f"Slot/{act.slot}"}]}, without=("start", "end"))

    async def override(self, act: Act) -> httpx.Response | None:
        """Booked in spite of a conflict, with a reason."""
        reason = {"url": own.OVERRIDE, "valueString": f"emergency {act.n}"}
        return await self._change(act, {"status": "booked", "extension": [reason]})

    async def hold(self, act: Act) -> httpx.Response | None:
        offer = await self._offer(act)
        return await self._operate("$hold", act.caller, {"appointment-reference": offer}) if offer else None

    async def book(self, act: Act) -> httpx.Response | None:
        """What is offered, or held."""
        chosen = await self._offer(act) if act.n % 2 else self.chosen(act)
        if not chosen:
            return None
        person = {"resourceType": "Patient", "name": [{"family": "X"}], "telecom": [{"value": "1"}]}
        known = patient(PEOPLE[act.n % 2])
        return await self._operate(
            "$book", act.caller, {"appointment-reference": chosen},
            {"patient-resource": known if act.caller in ("dr-lee", "dr-kim", "sam") else person},
        )  # fmt: skip

    async def reschedule(self, act: Act) -> httpx.Response | None:
        offer, current = await self._offer(act), await self._read(act)
        if not offer or current is None:
            return None
        given = {"appointment-resource": current | {"status": "booked"}}
        return await self._operate("$book", act.caller, {"appointment-reference": offer}, given)

    async def cancel(self, act: Act) -> httpx.Response | None:
        current = await self._read(act)
        given = {"status": "cancelled", "cancelationReason": {"text": "ill"}}
        if current is None:
            return None
        return await self._operate("$book", act.caller, {}, {"appointment-resource": current | given})

    async def offer(self, act: Act) -> httpx.Response | None:
        """Staff offer the time of a slot."""
        slot = (await self.harness.get(f"Slot/{act.slot}", "admin")).json()
        return await self._respond(act, act.caller, "Practitioner/dr-lee", "tentative",
                                   {"start": slot["start"], "end": slot["end"]})  # fmt: skip

    async def answer(self, act: Act) -> httpx.Response | None:
        """A patient accepts or declines it."""
        who = PEOPLE[act.n % 2]
        return await self._respond(act, who, f"Patient/{who}", "accepted" if act.n % 3 else "declined", {})

    async def turn_slot(self, act: Act) -> httpx.Response:
        status = ("free", "busy-unavailable")[act.n % 2]
        return await self.harness.patch(f"Slot/{act.slot}", to_status(status), act.caller)

    async def delete(self, act: Act) -> httpx.Response | None:
        chosen = self.chosen(act)
        return await self.harness.delete(f"Appointment/{chosen}", act.caller) if chosen else None

    async def take_both(self, act: Act) -> httpx.Response:
        """One transaction or batch that books a slot twice."""
        made = [self._new("booked", who, act.slot) for who in PEOPLE]
        entries = [{"resource": each, "request": {"method": "POST", "url": "Appointment"}} for each in made]
        return await self._bundle("batch" if act.n % 2 else "transaction", entries, act.caller)

    async def merge(self, act: Act) -> httpx.Response:
        if act.n % 2:
            return await self.harness.send("POST", f"Patient/{PEOPLE[0]}/$unmerge", act.caller)
        people = {"source-patient": "Patient/anna", "target-patient": "Patient/ben"}
        return await self._operate("$merge", act.caller, people, type_="Patient")

    async def sweep(self, _: Act) -> None:
        await sweeper.sweep(self.harness.parts.store, await self.harness.parts.clinics.get("demo"))

    # How they are done

    def _at(self, micros: int) -> str:
        from tests.harness import NOW

        return self.harness.at(micros + NOW - self.harness.clock.now)

    def _new(self, status: str, who: str, *slots: str) -> Resource:
        made = appointment("", status, who, *slots)
        del made["id"]
        return made

    async def _read(self, act: Act) -> Resource | None:
        chosen = self.chosen(act)
        answer = await self.harness.get(f"Appointment/{chosen}", "admin") if chosen else None
        return answer.json() if answer is not None and answer.status_code == 200 else None

    async def _change(self, act: Act, change: Resource, without: tuple[str, ...] = ()) -> httpx.Response | None:
        current = await self._read(act)
        if current is None:
            return None
        path, harness = f"Appointment/{current['id']}", self.harness
        whole = {name: value for name, value in (current | change).items() if name not in without}
        operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in change.items()]
        match act.way:
            case "put":
                return await harness.put(whole, act.caller)
            case "conditional put":
                return await harness.send("PUT", f"Appointment?_id={current['id']}", act.caller, json_=whole)
            case "merge patch":
                headers = {"Content-Type": _MERGE_PATCH}
                return await harness.patch(path, change, act.caller, headers=headers)
            case "fhirpath patch" if set(change) <= {"status"}:
                return await harness.patch(
                    path, _replacing("status", change["status"]), act.caller, headers={"Content-Type": FHIR_JSON}
                )
            case "conditional patch":
                return await harness.patch(f"Appointment?_id={current['id']}", operations, act.caller)
            case "batch" | "transaction":
                request = {"method": "PUT", "url": path}
                return await self._bundle(act.way, [{"resource": whole, "request": request}], act.caller)
        return await harness.patch(path, operations, act.caller)

    async def _bundle(self, type_: str, entries: list[Resource], caller: str) -> httpx.Response:
        body = {"resourceType": "Bundle", "type": type_, "entry": entries}
        return await self.harness.send("POST", "", caller, json_=body)

    async def _offer(self, act: Act) -> str:
        """The id of an offered time of a slot; '' when it is not offered."""
        window = [("start", self._at(0)), ("end", self._at(9 * DAY))]
        body = {"resourceType": "Parameters",
                "parameter": [{"name": name, "valueDateTime": value} for name, value in window]}  # fmt: skip
        answer = await self.harness.send("POST", "Appointment/$find", json_=body)
        assert answer.status_code == 200, answer.text
        offers = [entry["resource"] for entry in answer.json().get("entry", ())]
        ids = [str(each["id"]) for each in offers if each.get("slot") == [{"reference": f"Slot/{act.slot}"}]]
        return ids[0] if ids else ""

    async def _operate(
        self, name: str, caller: str, references: Mapping[str, str], resources: Mapping[str, Resource] | None = None,
        type_: str = "Appointment",
    ) -> httpx.Response:  # fmt: skip
        given: list[Resource] = []
        for key, id_ in references.items():
            reference = id_ if "/" in id_ else f"Appointment/{id_}"
            given.append({"name": key, "valueReference": {"reference": reference}})
        given += [{"name": key, "resource": resource} for key, resource in (resources or {}).items()]
        body = {"resourceType": "Parameters", "parameter": given}
        return await self.harness.send("POST", f"{type_}/{name}", caller, json_=body)

    async def _respond(self, act: Act, caller: str, actor: str, status: str, more: Resource) -> httpx.Response | None:
        chosen = self.chosen(act)
        if not chosen:
            return None
        made = {"resourceType": "AppointmentResponse", "appointment": {"reference": f"Appointment/{chosen}"},
                "actor": {"reference": actor}, "participantStatus": status, **more}  # fmt: skip
        return await self.harness.create(made, caller)


def _replacing(name: str, value: str) -> Resource:
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": f"Appointment.{name}"},
             {"name": "value", "valueCode": value}]  # fmt: skip
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


ACTS: Mapping[str, Callable[[Acting, Act], Awaitable[httpx.Response | None]]] = {
    "propose": Acting.propose, "make": Acting.make, "move": Acting.move,
    "decline": Acting.decline, "rebook": Acting.rebook,
    "override": Acting.override, "hold": Acting.hold, "book": Acting.book, "reschedule": Acting.reschedule,
    "cancel": Acting.cancel, "offer": Acting.offer, "answer": Acting.answer, "turn slot": Acting.turn_slot,
    "delete": Acting.delete, "take both": Acting.take_both, "merge": Acting.merge, "sweep": Acting.sweep,
}  # fmt: skip
