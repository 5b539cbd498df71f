"""The steps of the demo: a booking from the clinic's website to the audit log, and a conflict that is told.

Source: requirements §4, R-4.1 to R-4.6, R-7.4, R-10.5 to R-10.7, R-10.9.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

Resource = dict[str, Any]
_CONFIRM = '[{"op": "replace", "path": "/status", "value": "booked"}]'
_MOST_PAGES = 50


class StepFailed(Exception):
    """A step did not do what it should."""

    def __init__(self, step: str, told: str) -> None:
        super().__init__(told)
        self.step = step


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """Bearer tokens by who has them; no repr, so that none is ever printed."""

    by_name: Mapping[str, str]

    def header(self, name: str) -> dict[str, str]:
        """The Authorization header; none for ''."""
        return {"Authorization": f"Bearer {self.by_name[name]}"} if name else {}


class Journey:
    """Walks the steps, prints what happens, and stops at the first that fails."""

    def __init__(self, http: httpx.Client, base: str, tokens: Tokens, correlation: str) -> None:
        self._http, self._base, self._tokens, self._correlation = http, base, tokens, correlation
        self._step = ""
        self._number = 0

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
        annas = self._anna_proposes()
        self._audit_trail([proposal, rival, websites, annas], [first, second])
        print("\nEvery step did what it should.")

    # The steps

    def _search_slots(self) -> list[Resource]:
        with self._doing("Anybody searches free times of Dr. Lee for a consultation"):
            schedules = [one["id"] for one in self._all("", "Schedule?actor=Practitioner/dr-lee")]
            schedule = next((id_ for id_ in schedules if "consultation" in id_), "")
            self._expect(bool(schedule), "Dr. Lee has no schedule for consultations that anybody sees")
            found = self._get(
                "", f"Slot?schedule=Schedule/{schedule}&status=free&start=gt{_soon()}&_sort=start&_count=2"
            )
            slots = [entry["resource"] for entry in found.get("entry", ())]
            self._expect(len(slots) == 2, f"{len(slots)} free slots were found, where two are needed")
            self._tell(f"the first are {slots[0]['start']} and {slots[1]['start']}, read without a login")
        return slots

    def _propose_anonymously(self, slot: Resource) -> tuple[str, str]:
        with self._doing("A new person proposes the first of them, without a login"):
            answer = self._post("", _proposal(slot, "Nadia", "Newman"))
            self._expect(answer.status_code == 201, _told(answer))
            made, receipt = answer.json(), answer.headers.get("Proposal-Receipt", "")
            self._expect(made["status"] == "proposed", f"its status is {made['status']}")
            self._expect("participant" not in made and "contained" not in made, "the answer shows the person")
            self._expect(bool(receipt), "there is no Proposal-Receipt")
            self._tell(
                f"Appointment/{made['id']} is proposed, with a receipt; the answer repeats nothing of the person"
            )
        return made["id"], receipt

    def _read_by_receipt(self, proposal: str, receipt: str) -> None:
        with self._doing("The receipt reads the proposal; nobody else without a login does"):
            by_receipt = self._request("GET", f"Appointment/{proposal}", {"Authorization": f"Bearer {receipt}"})
            self._expect(by_receipt.status_code == 200, _told(by_receipt))
            anonymous = self._request("GET", f"Appointment/{proposal}", {})
            self._expect(anonymous.status_code in (401, 403, 404), f"anonymous got {anonymous.status_code}")
            self._tell(f"200 with the receipt, {anonymous.status_code} without")

    def _propose_as_website(self, slot: Resource) -> str:
        with self._doing("The website builder submits another person's proposal for the same time"):
            answer = self._post("website-builder", _proposal(slot, "Omar", "Other"))
            self._expect(answer.status_code == 201, _told(answer))
            made: str = answer.json()["id"]
            seen = self._request("GET", f"Appointment/{made}", self._tokens.header("website-builder"))
            self._expect(seen.status_code == 200, _told(seen))
            self._tell(f"Appointment/{made} is proposed too: a proposal is intent, and takes nothing from others")
        return made

    def _work_list(self, proposals: Sequence[str]) -> None:
        with self._doing("Dr. Lee opens the work list"):
            path = "Appointment?status=proposed,pending&practitioner=Practitioner/dr-lee&_sort=date&_count=100"
            listed = {resource["id"] for resource in self._all("dr-lee", path)}
            self._expect(set(proposals) <= listed, "the proposals are not on it")
            self._tell(f"{len(listed)} proposals wait, both of these among them")

    def _confirm(self, proposal: str, slot: Resource) -> None:
        with self._doing("Dr. Lee confirms the first, at the version that was read"):
            answer = self._patch(proposal)
            self._expect(answer.status_code == 200 and answer.json()["status"] == "booked", _told(answer))
            status = self._get("", f"Slot/{slot['id']}")["status"]
            self._expect(status == "busy", f"the slot is {status}")
            self._tell(f"Appointment/{proposal} is booked, and Slot/{slot['id']} is busy, in one step")

    def _refuse_second(self, rival: str, slot: Resource) -> None:
        with self._doing("Dr. Lee tries to confirm the second for the same time"):
            answer = self._patch(rival)
            self._expect(answer.status_code == 409, _told(answer))
            outcome = answer.json()["issue"][0]["diagnostics"]
            self._expect(slot["id"] in outcome, "the conflict does not name the slot")
            status = self._get("dr-lee", f"Appointment/{rival}")["status"]
            self._expect(status == "proposed", f"the proposal is {status}")
            self._tell(f"409: {outcome}")
            self._tell("the proposal stays proposed, for a person to settle")

    def _receipt_sees_booked(self, proposal: str, receipt: str) -> None:
        with self._doing("The person looks again, with the receipt"):
            answer = self._request("GET", f"Appointment/{proposal}", {"Authorization": f"Bearer {receipt}"})
            self._expect(answer.status_code == 200 and answer.json()["status"] == "booked", _told(answer))
            self._tell("booked")

    def _website_loses_sight(self, slot: Resource) -> str:
        with self._doing("A proposal of the website builder is booked, and is gone from its sight"):
            answer = self._post("website-builder", _proposal(slot, "Pia", "Person"))
            self._expect(answer.status_code == 201, _told(answer))
            made: str = answer.json()["id"]
            confirmed = self._patch(made)
            self._expect(confirmed.status_code == 200, _told(confirmed))
            after = self._request("GET", f"Appointment/{made}", self._tokens.header("website-builder"))
            self._expect(after.status_code == 404, f"the website builder got {after.status_code}")
            self._tell("404: an appointment is the patient's and the clinic's, not the website's")
        return made

    def _anna_proposes(self) -> str:
        with self._doing("The patient Anna books a flu vaccination for herself"):
            slot = self._slot_for_anna()
            answer = self._post("anna", {"resourceType": "Appointment", "status": "proposed", "participant":
                                         [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}],
                                         "slot": [{"reference": f"Slot/{slot['id']}"}]})  # fmt: skip
            self._expect(answer.status_code == 201, _told(answer))
            made: str = answer.json()["id"]
            seen = self._get("anna", f"Appointment/{made}")
            self._expect(seen["status"] == "booked", f"it is {seen['status']}")
            mine = {resource["id"] for resource in self._all("anna", "Appointment?_count=100")}
            self._expect(made in mine, "it is not among her appointments")
            self._tell(f"Appointment/{made} is booked at once, by the clinic's rule for low-risk visits; she sees hers")
        return made

    def _slot_for_anna(self) -> Resource:
        """A free slot at a time when she has no other appointment."""
        busy = [
            (_moment(one["start"]), _moment(one["end"]))
            for one in self._all("anna", "Appointment?_count=100")
            if one["status"] == "booked" and "start" in one
        ]
        for slot in self._all("", f"Slot?service-type=flu-shot&status=free&start=gt{_soon()}&_sort=start"):
            start, end = _moment(slot["start"]), _moment(slot["end"])
            if all(end <= other[0] or start >= other[1] for other in busy):
                return slot
        raise StepFailed(self._step, "there is no free slot left for a flu vaccination")

    def _audit_trail(self, appointments: Sequence[str], slots: Sequence[Resource]) -> None:
        with self._doing("The auditor reads the trail of all this by its correlation id"):
            trail = list(
                self._all("auditor", f"AuditEvent?entity:identifier={self._correlation}&_sort=date&_count=100")
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
            self._expect(not missing, f"it lacks {missing}")
            patients = [what for subtype, outcome, what in told if what.startswith("Patient/") and subtype == "create"]
            self._expect(len(patients) == 3, f"{len(patients)} provisional patients were recorded, of three")
            self._tell(f"{len(trail)} events, every step among them:")
            for subtype, outcome, what in told:
                self._tell(f"  {subtype:<16} {what or '-':<60} {'refused' if outcome == '4' else ''}".rstrip())

    # How they are done

    @contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        self._number += 1
        self._step = step
        print(f"\n{self._number}. {step}")
        try:
            yield
        except (KeyError, ValueError) as error:
            raise StepFailed(step, f"an answer lacks {error}") from error

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise StepFailed(self._step, otherwise)

    def _tell(self, text: str) -> None:
        print(f"   {text}")

    def _request(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
        url = path if path.startswith("http") else f"{self._base}/{path}"
        return self._http.request(method, url, headers=dict(headers), **more)

    def _get(self, who: str, path: str) -> Resource:
        answer = self._request("GET", path, self._tokens.header(who))
        self._expect(answer.status_code == 200, _told(answer))
        found: Resource = answer.json()
        return found

    def _all(self, who: str, path: str) -> Iterator[Resource]:
        """The matches, page by page as they are needed."""
        for _ in range(_MOST_PAGES):
            page = self._get(who, path)
            yield from (entry["resource"] for entry in page.get("entry", ()))
            following = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
            if following is None:
                return
            path = following

    def _post(self, who: str, resource: Resource) -> httpx.Response:
        return self._request("POST", "Appointment", self._tokens.header(who), json=resource)

    def _patch(self, proposal: str) -> httpx.Response:
        """Confirm a proposal as Dr. Lee, at the version that is read first."""
        read = self._request("GET", f"Appointment/{proposal}", self._tokens.header("dr-lee"))
        self._expect(read.status_code == 200, _told(read))
        headers = {"If-Match": read.headers["ETag"], "Content-Type": "application/json-patch+json"}
        return self._request(
            "PATCH", f"Appointment/{proposal}", self._tokens.header("dr-lee") | headers, content=_CONFIRM
        )


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


def _told(answer: httpx.Response) -> str:
    """Status and diagnostics of an answer."""
    try:
        issues = answer.json().get("issue", ())
    except ValueError:
        issues = ()
    texts = " ".join(str(issue.get("diagnostics", "")) for issue in issues)
    return f"{answer.status_code} {texts}".strip()


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
