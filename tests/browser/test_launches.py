"""Whole launches in a real browser, with the npm library fhirclient as the app (SMART App Launch 2.2.0 app-launch)."""

import json
from typing import Any

import httpx
import pytest

from tests.browser.chromium import Person
from tests.cli.running import Server, run

APP = "http://localhost:4567"


def operator_token(server: Server, *words: str) -> dict[str, str]:
    """The headers of an operator's token."""
    token = run("token", "--tenant", "demo", *words, "--origin", server.origin, "--data", server.data).stdout.strip()
    return {"Authorization": f"Bearer {token}"}


def visits(server: Server, patient: str) -> set[str]:
    """The ids of a patient's appointments, as the administrator finds them."""
    headers = operator_token(server, "--client", "admin", "--scope", "system/*.cruds")
    found = httpx.get(f"{server.base}/Appointment?patient={patient}&_count=100", headers=headers)
    assert found.status_code == 200, found.text
    return {entry["resource"]["id"] for entry in found.json().get("entry", ())}


def book(server: Server, patient: str, count: int) -> None:
    """More appointments than a page of the app holds."""
    headers = operator_token(server, "--client", "provider-portal", "--user", "sam", "--scope", "user/*.cruds")
    free = httpx.get(f"{server.base}/Slot?status=free&schedule.actor=Practitioner/dr-kim&_count={count}")
    for entry in free.json()["entry"]:
        who = [{"actor": {"reference": f"Patient/{patient}"}, "status": "accepted"}]
        booking = {"resourceType": "Appointment", "status": "booked", "participant": who,
                   "slot": [{"reference": f"Slot/{entry['resource']['id']}"}]}  # fmt: skip
        made = httpx.post(f"{server.base}/Appointment", json=booking, headers=headers)
        assert made.status_code == 201, made.text


def seen(person: Person, state: str = "ready") -> dict[str, Any]:
    told: dict[str, Any] = json.loads(person.until_app(state))
    return told


@pytest.mark.requirement("R-6.2", "R-8.3", "R-8.4", "R-C.3")
def test_a_patient_launches_an_app_and_reads_their_appointments(server: Server, person: Person) -> None:
    """Discovery, sign-in, consent, code with PKCE, token, records page by page, and a refresh, all by the library."""
    book(server, "anna", 3)
    person.go(f"{APP}/launch/patient?iss={server.base}")
    person.sign_in("anna")
    person.until_heading("Allow Patient portal?")
    assert "Anna Avery" in person.text
    person.press("Allow")
    told = seen(person)
    assert (told["patient"], told["observations"]) == ("anna", 200)
    assert len(told["appointments"]) > 2
    assert set(told["appointments"]) == visits(server, "anna")
    assert told["fhirUser"].endswith("Patient/anna")
    first = told["response"]
    person.press("Refresh the token", leads_on=False)
    again = seen(person, "refreshed")
    assert set(again["appointments"]) == visits(server, "anna")
    assert again["response"]["access_token"] != first["access_token"]
    assert again["response"]["refresh_token"] != first["refresh_token"]


def test_a_patient_allows_less_than_an_app_asks_for(server: Server, person: Person) -> None:
    """What is unticked is not granted: the app gets no refresh token, and its read of observations is refused."""
    person.go(f"{APP}/launch/patient?iss={server.base}")
    person.sign_in("anna")
    person.until_heading("Allow")
    for scope in ("patient/Observation.rs", "offline_access"):
        person.tick(scope)
    person.press("Allow")
    told = seen(person)
    assert (told["patient"], told["observations"]) == ("anna", 403)
    assert set(told["response"]["scope"].split()) == {
        "launch/patient", "openid", "fhirUser", "patient/Patient.rs", "patient/Appointment.rs",
    }  # fmt: skip
    assert "refresh_token" not in told["response"]


def test_a_patient_refuses(server: Server, person: Person) -> None:
    """RFC 6749 §4.1.2.1: the library is told `access_denied`."""
    person.go(f"{APP}/launch/patient?iss={server.base}")
    person.sign_in("anna")
    person.until_heading("Allow")
    person.press("Refuse")
    assert "refused" in person.until_app("failed")


def test_a_provider_picks_a_patient(server: Server, person: Person) -> None:
    """Standalone launch of a confidential client: sign-in, the picker with a search, consent."""
    person.go(f"{APP}/launch/provider?iss={server.base}")
    person.sign_in("dr-lee")
    person.until_heading("Choose a patient")
    person.fill(name="Avery")
    person.press("Search")
    person.until_heading("Choose a patient")
    assert person.choices() == ["anna"]
    person.tick("anna")
    person.press("Continue")
    person.until_heading("Allow Provider portal?")
    assert "Anna Avery" in person.text
    person.press("Allow")
    told = seen(person)
    assert (told["patient"], told["response"]["patient"]) == ("anna", "anna")
    assert told["fhirUser"].endswith("Practitioner/dr-lee")
    assert set(told["appointments"]) == visits(server, "anna")


@pytest.mark.requirement("R-8.3", "R-C.3")
def test_a_portal_launches_an_app_for_the_patient_that_is_open(server: Server, person: Person) -> None:
    """EHR launch: the handle made by the portal puts patient and encounter in context; it works once."""
    headers = operator_token(server, "--client", "provider-portal", "--user", "dr-lee", "--scope", "user/*.cruds")
    open_now = {"patient": "anna", "encounter": "anna-visit", "intent": "reconcile-medications"}
    made = httpx.post(f"{server.origin}/demo/auth/launch", json=open_now, headers=headers)
    assert made.status_code == 201, made.text
    launch = made.json()
    opened = f"{APP}/launch/ehr?iss={launch['iss']}&launch={launch['launch']}"
    person.go(opened)
    person.sign_in("dr-lee")
    person.until_heading("Allow Provider portal?")
    person.press("Allow")
    told = seen(person)
    assert set(told["appointments"]) == visits(server, "anna")
    assert open_now.items() <= told["response"].items()
    person.press("Refresh the token", leads_on=False)
    assert seen(person, "refreshed")["patient"] == "anna"
    person.go(opened)
    assert "launch" in person.until_app("failed")
