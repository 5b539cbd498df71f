"""The steps of the demo: a booking from the clinic's website to the audit log, and a conflict that is told.

Source: requirements §4, R-4.1 to R-4.9, R-7.4, R-10.5 to R-10.7, R-10.9.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from fhir_server.cli import visit
from fhir_server.cli.steps import StepFailed, Steps, Tokens, told

Resource = dict[str, Any]


class Journey:
    """Walks the steps, prints what happens, and stops at the first that fails."""

    def __init__(self, http: httpx.Client, base: str, tokens: Tokens, correlation: str) -> None:
        self._steps = Steps(http, base, tokens)
        self._base, self._correlation = base, correlation

    def walk(self) -> None:
        """All steps in turn. Raises StepFailed, httpx.HTTPError."""
        print(f"The booking journey at {self._base}, correlation id {self._correlation}")
        slots = self._search_slots()
        first, second = slots[0], slots[1]
        proposal, receipt = self._propose_anonymously(first)
        self._read_by_receipt(proposal, receipt)
        rival = self._propose_as_website(first)
        self._work_list([proposal, rival])
        self._confirm(proposal, first)
        self._refuse_second(rival, first)
        self._receipt_sees_booked(proposal, receipt)
        websites = self._website_loses_sight(second)
        self._decline(rival)
        annas = self._anna_proposes()
        visit.walk(self._steps, annas)
        self._audit_trail([proposal, rival, websites, annas], [first, second])
        print("\nEvery step did what it should.")

    # The steps

    def _search_slots(self) -> list[Resource]:
        with self._steps.doing("Anybody searches free times of Dr. Lee for a consultation"):
            schedules = [one["id"] for one in self._steps.all("", "Schedule?actor=Practitioner/dr-lee")]
            schedule = next((id_ for id_ in schedules if "consultation" in id_), "")
            self._steps.expect(bool(schedule), "Dr. Lee has no schedule for consultations that anybody sees")
            found = self._steps.get(
                "", f"Slot?schedule=Schedule/{schedule}&status=free&start=gt{_soon()}&_sort=start&_count=2"
            )
            slots = [entry["resource"] for entry in found.get("entry", ())]
            self._steps.expect(len(slots) == 2, f"{len(slots)} free slots were found, where two are needed")
            self._steps.tell(f"the first are {slots[0]['start']} and {slots[1]['start']}, read without a login")
        return slots

    def _propose_anonymously(self, slot: Resource) -> tuple[str, str]:
        with self._steps.doing("A new person proposes the first of them, without a login"):
            answer = self._steps.post("", _proposal(slot, "Nadia", "Newman"))
            self._steps.expect(answer.status_code == 201, told(answer))
            made, receipt = answer.json(), answer.headers.get("Proposal-Receipt", "")
            self._steps.expect(made["status"] == "proposed", f"its status is {made['status']}")
            self._steps.expect("participant" not in made and "contained" not in made, "the answer shows the person")
            self._steps.expect(bool(receipt), "there is no Proposal-Receipt")
            self._steps.tell(
                f"Appointment/{made['id']} is proposed, with a receipt; the answer repeats nothing of the person"
            )
        return made["id"], receipt

    def _read_by_receipt(self, proposal: str, receipt: str) -> None:
        with self._steps.doing("The receipt reads the proposal; nobody else without a login does"):
            by_receipt = self._steps.request("GET", f"Appointment/{proposal}", {"Authorization": f"Bearer {receipt}"})
            self._steps.expect(by_receipt.status_code == 200, told(by_receipt))
            anonymous = self._steps.request("GET", f"Appointment/{proposal}", {})
            self._steps.expect(anonymous.status_code in (401, 403, 404), f"anonymous got {anonymous.status_code}")
            self._steps.tell(f"200 with the receipt, {anonymous.status_code} without")

    def _propose_as_website(self, slot: Resource) -> str:
        with self._steps.doing("The website builder submits another person's proposal for the same time"):
            answer = self._steps.post("website-builder", _proposal(slot, "Omar", "Other"))
            self._steps.expect(answer.status_code == 201, told(answer))
            made: str = answer.json()["id"]
            seen = self._steps.request("GET", f"Appointment/{made}", self._steps.header("website-builder"))
            self._steps.expect(seen.status_code == 200, told(seen))
            self._steps.tell(f"Appointment/{made} is proposed too: a proposal is intent, and takes nothing from others")
        return made

    def _work_list(self, proposals: Sequence[str]) -> None:
        with self._steps.doing("Dr. Lee opens the work list"):
            path = "Appointment?status=proposed,pending&practitioner=Practitioner/dr-lee&_sort=date&_count=100"
            listed = {resource["id"] for resource in self._steps.all("dr-lee", path)}
            self._steps.expect(set(proposals) <= listed, "the proposals are not on it")
            self._steps.tell(f"{len(listed)} proposals wait, both of these among them")

    def _confirm(self, proposal: str, slot: Resource) -> None:
        with self._steps.doing("Dr. Lee confirms the first, at the version that was read"):
            answer = self._steps.patch(proposal)
            self._steps.expect(answer.status_code == 200 and answer.json()["status"] == "booked", told(answer))
            status = self._steps.get("", f"Slot/{slot['id']}")["status"]
            self._steps.expect(status == "busy", f"the slot is {status}")
            self._steps.tell(f"Appointment/{proposal} is booked, and Slot/{slot['id']} is busy, in one step")

    def _refuse_second(self, rival: str, slot: Resource) -> None:
        with self._steps.doing("Dr. Lee tries to confirm the second for the same time"):
            answer = self._steps.patch(rival)
            self._steps.expect(answer.status_code == 409, told(answer))
            outcome = answer.json()["issue"][0]["diagnostics"]
            self._steps.expect(slot["id"] in outcome, "the conflict does not name the slot")
            status = self._steps.get("dr-lee", f"Appointment/{rival}")["status"]
            self._steps.expect(status == "proposed", f"the proposal is {status}")
            self._steps.tell(f"409: {outcome}")
            self._steps.tell("the proposal stays proposed, for a person to settle")

    def _receipt_sees_booked(self, proposal: str, receipt: str) -> None:
        with self._steps.doing("The person looks again, with the receipt"):
            answer = self._steps.request("GET", f"Appointment/{proposal}", {"Authorization": f"Bearer {receipt}"})
            self._steps.expect(answer.status_code == 200 and answer.json()["status"] == "booked", told(answer))
            self._steps.tell("booked")

    def _website_loses_sight(self, slot: Resource) -> str:
        with self._steps.doing("A proposal of the website builder is booked, and is gone from its sight"):
            answer = self._steps.post("website-builder", _proposal(slot, "Pia", "Person"))
            self._steps.expect(answer.status_code == 201, told(answer))
            made: str = answer.json()["id"]
            confirmed = self._steps.patch(made)
            self._steps.expect(confirmed.status_code == 200, told(confirmed))
            after = self._steps.request("GET", f"Appointment/{made}", self._steps.header("website-builder"))
            self._steps.expect(after.status_code == 404, f"the website builder got {after.status_code}")
            self._steps.tell("404: an appointment is the patient's and the clinic's, not the website's")
        return made

    def _decline(self, rival: str) -> None:
        with self._steps.doing("Dr. Lee declines the second; whoever declines says why"):
            silent = self._steps.patch(rival, "cancelled")
            self._steps.expect(silent.status_code == 422, told(silent))
            answer = self._steps.patch(rival, "cancelled", reason="the time is taken; please choose another")
            self._steps.expect(answer.status_code == 200, told(answer))
            self._steps.tell("422 without a reason; with one the proposal is cancelled, and the reason stands in it")

    def _anna_proposes(self) -> str:
        with self._steps.doing("The patient Anna books a flu vaccination for herself"):
            slot = self._slot_for_anna()
            answer = self._steps.post("anna", {"resourceType": "Appointment", "status": "proposed", "participant":
                                         [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}],
                                         "slot": [{"reference": f"Slot/{slot['id']}"}]})  # fmt: skip
            self._steps.expect(answer.status_code == 201, told(answer))
            made: str = answer.json()["id"]
            seen = self._steps.get("anna", f"Appointment/{made}")
            self._steps.expect(seen["status"] == "booked", f"it is {seen['status']}")
            mine = {resource["id"] for resource in self._steps.all("anna", "Appointment?_count=100")}
            self._steps.expect(made in mine, "it is not among her appointments")
            self._steps.tell(
                f"Appointment/{made} is booked at once, by the clinic's rule for low-risk visits; she sees hers"
            )
        return made

    def _slot_for_anna(self) -> Resource:
        """A free slot at a time when she has no other appointment."""
        busy = [
            (_moment(one["start"]), _moment(one["end"]))
            for one in self._steps.all("anna", "Appointment?_count=100")
            if one["status"] in ("booked", "fulfilled") and "start" in one
        ]
        for slot in self._steps.all("", f"Slot?service-type=flu-shot&status=free&start=gt{_soon()}&_sort=start"):
            start, end = _moment(slot["start"]), _moment(slot["end"])
            if all(end <= other[0] or start >= other[1] for other in busy):
                return slot
        raise StepFailed(self._steps.step, "there is no free slot left for a flu vaccination")

    def _audit_trail(self, appointments: Sequence[str], slots: Sequence[Resource]) -> None:
        with self._steps.doing("The auditor reads the trail of all this by its correlation id"):
            trail = list(
                self._steps.all("auditor", f"AuditEvent?entity:identifier={self._correlation}&_sort=date&_count=100")
            )
            told = [_told_event(event) for event in trail]
            expected = [("create", "0", f"Appointment/{appointment}") for appointment in appointments]
            expected += [
                ("patch", "0", f"Appointment/{appointments[0]}"),
                ("patch", "4", f"Appointment/{appointments[1]}"),
            ]
            expected += [("update", "0", f"Slot/{slot['id']}") for slot in slots]
            expected += [
                ("patch", "0", f"Appointment/{appointments[2]}"),
                ("update", "0", f"Appointment/{appointments[3]}"),
            ]
            expected += [
                ("read", "4", f"Appointment/{appointments[0]}"),
                ("read", "4", f"Appointment/{appointments[2]}"),
            ]
            missing = [step for step in expected if step not in told]
            self._steps.expect(not missing, f"it lacks {missing}")
            patients = [what for subtype, outcome, what in told if what.startswith("Patient/") and subtype == "create"]
            self._steps.expect(len(patients) == 3, f"{len(patients)} provisional patients were recorded, of three")
            self._steps.tell(f"{len(trail)} events, every step among them:")
            for subtype, outcome, what in told:
                self._steps.tell(f"  {subtype:<16} {what or '-':<60} {'refused' if outcome == '4' else ''}".rstrip())


def _proposal(slot: Resource, given: str, family: str) -> Resource:
    return {
        "resourceType": "Appointment",
        "status": "proposed",
        "contained": [
            {
                "resourceType": "Patient",
                "id": "me",
                "name": [{"given": [given], "family": family}],
                "telecom": [{"system": "email", "value": f"{given.lower()}@example.org"}],
            }
        ],
        "slot": [{"reference": f"Slot/{slot['id']}"}],
        "participant": [{"actor": {"reference": "#me"}, "status": "accepted"}],
    }


def _told_event(event: Resource) -> tuple[str, str, str]:
    """(subtype, outcome, the resource it is about, without its version)."""
    about = [entity.get("what", {}).get("reference", "") for entity in event.get("entity", ())]
    what = next((reference for reference in about if reference), "")
    return event["subtype"][0]["code"], event["outcome"], what.partition("/_history")[0]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _soon() -> str:
    """Two hours from now: the clinic's shortest notice is one hour."""
    return (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
