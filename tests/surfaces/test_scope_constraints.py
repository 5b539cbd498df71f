"""The search constraint of a scope is a search by its caller: it looks at nothing that the caller may not see."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from smart_auth import clients
from smart_auth.clients import Client
from smart_auth.errors import InvalidScope
from tests.harness import DAY, MINUTE, SECRET, Harness, appointment, cared_for, ids, patient, practitioner

PRIVATE = {"telecom": [{"system": "email", "value": "lee@home.example"}], "gender": "female",
           "birthDate": "1970-01-01", "address": [{"line": ["Elm Street 7"], "city": "Bonn"}],
           "identifier": [{"system": "urn:tax", "value": "DE123"}]}  # fmt: skip
LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


def observation(id_: str, code: str, **more: Any) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"},
            "subject": {"reference": "Patient/anna"}, "category": [{"coding": [{"system": system, "code": code}]}],
            "effectiveDateTime": "2026-05-01"} | more  # fmt: skip


@pytest.fixture
async def world(clinic: Harness) -> Harness:
    """dr-lee with private elements, records of anna's, and an appointment that she shares with ben."""
    await clinic.seed(practitioner("dr-lee") | PRIVATE, practitioner("dr-kim"), cared_for("anna", "dr-lee"))
    await clinic.seed(patient("ben"), patient("eve"))
    await clinic.seed(observation("lab", "laboratory"), observation("vital", "vital-signs"))
    shared = appointment("g", "booked", "anna", start=clinic.at(DAY), end=clinic.at(DAY + 30 * MINUTE))
    shared["participant"] += [{"actor": {"reference": "Patient/ben"}, "status": "tentative"},
                              {"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"}]  # fmt: skip
    made = await clinic.create(shared, "sam")
    assert made.status_code == 201, made.text
    clinic.shared = f"Appointment/{made.json()['id']}"  # type: ignore[attr-defined]
    return clinic


async def reads(world: Harness, caller: str, scope: str, path: str) -> int:
    return (await world.get(path, await world.token(caller, scope=scope))).status_code


@pytest.mark.requirement("R-6.2", "R-7.16")
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("email", "lee@home.example", "x@home.example"),
        ("address", "Elm", "Oak"),
        ("address-city", "Bonn", "Ulm"),
        ("identifier", "urn:tax|DE123", "urn:tax|DE124"),
        ("gender", "female", "male"),
        ("_text", "Elm", "Oak"),
    ],
)
async def test_a_constraint_tells_nothing_of_hidden_elements(world: Harness, name: str, right: str, wrong: str) -> None:
    """What a search refuses, a scope does not grant: alike for the hidden value and for another."""
    for value in (right, wrong):
        scope = f"patient/Practitioner.rs?{name}={quote(value)}"
        assert await reads(world, "anna", scope, "Practitioner/dr-lee") == 403
        assert await reads(world, "anna", scope, "Practitioner") == 403


@pytest.mark.requirement("R-6.2", "R-7.16")
async def test_a_client_by_itself_reads_out_no_hidden_element(world: Harness) -> None:
    """By client_credentials, as a registered website would ask."""

    async def register(unit: Any) -> None:
        await clients.save(unit, Client("site", "confidential-symmetric", "website", ("system/Practitioner.rs",),
                                        ("client_credentials",), secret_hash=clients.hash_secret(SECRET)))  # fmt: skip

    await world.run(register, write=True)

    async def read(scope: str) -> int:
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = await world.http.post("/demo/auth/token", data=form, auth=("site", SECRET))
        assert answer.status_code == 200, answer.text
        return (await world.get("Practitioner/dr-lee", answer.json()["access_token"])).status_code

    assert await read("system/Practitioner.rs") == 200
    assert await read("system/Practitioner.rs?name=dr-lee") == 200
    assert await read("system/Practitioner.rs?name=someone") == 404
    for query in ("email=lee@home.example", "email=x@home.example", "address=e", "address=x"):
        assert await read(f"system/Practitioner.rs?{query}") == 403, query


@pytest.mark.requirement("R-6.2", "R-7.22")
@pytest.mark.parametrize(
    ("query", "others"),
    [("actor=Patient/{}", 403), ("patient={}", 403), ("patient=Patient/{}&status=booked", 404),
     ("patient=Patient/anna,Patient/{}", 200)],
)  # fmt: skip
async def test_a_constraint_finds_no_other_patient(world: Harness, query: str, others: int) -> None:
    """Who else takes part cannot be asked: an answer is the same for ben, who does, and for eve, who does not."""
    shared = world.shared  # type: ignore[attr-defined]
    for who in ("ben", "eve"):
        assert await reads(world, "anna", f"patient/Appointment.rs?{query.format(who)}", shared) == others, who


@pytest.mark.requirement("R-6.2", "R-7.22")
@pytest.mark.parametrize("query", ["part-status=tentative", "part-status=declined"])
async def test_a_constraint_does_not_look_at_others_parts(world: Harness, query: str) -> None:
    assert await reads(world, "anna", f"patient/Appointment.rs?{query}", world.shared) == 403  # type: ignore[attr-defined]


@pytest.mark.requirement("R-6.2", "R-7.22")
@pytest.mark.parametrize(
    "scope",
    [
        "patient/Appointment.rs?_filter=patient.family%20sw%20Ben",
        "patient/Appointment.rs?_filter=status%20eq%20booked",
        "patient/Patient.cruds?_filter=general-practitioner.active%20eq%20true",
        "patient/Observation.rs?_list=abc",
        "patient/Observation.rs?category=x&_contained=true",
        "user/Appointment.rs?_filter=patient.birthdate%20eq%201980-02-03",
    ],
)
async def test_a_constraint_follows_no_reference(world: Harness, scope: str) -> None:
    """A write is decided by the resource alone, and a chain would ask about what is out of sight."""
    with pytest.raises(InvalidScope):
        await world.token("dr-lee" if scope.startswith("user/") else "anna", scope=scope)


@pytest.mark.requirement("R-6.3")
@pytest.mark.parametrize(
    ("scope", "there", "not_there"),
    [
        (f"patient/Observation.rs?category={LABORATORY}", "Observation/lab", "Observation/vital"),
        (f"patient/Observation.rs?category={LABORATORY}&patient=anna", "Observation/lab", "Observation/vital"),
        ("patient/Observation.rs?date=ge2026-01-01&_id=lab", "Observation/lab", "Observation/vital"),
        ("patient/Practitioner.rs?name=dr-l", "Practitioner/dr-lee", "Practitioner/dr-kim"),
        ("patient/Practitioner.rs?active=true&_id=dr-lee", "Practitioner/dr-lee", "Practitioner/dr-kim"),
    ],
)
async def test_a_constraint_on_what_the_caller_sees_is_granted(
    world: Harness, scope: str, there: str, not_there: str
) -> None:
    """SMART App Launch 2.2.0, finer-grained resource constraints."""
    assert await reads(world, "anna", scope, there) == 200
    assert await reads(world, "anna", scope, not_there) == 404
    token = await world.token("anna", scope=scope)
    assert ids(await world.get(there.partition("/")[0], token)) == [there.partition("/")[2]]


@pytest.mark.requirement("R-6.3", "R-7.20")
@pytest.mark.parametrize(("family", "status"), [("anna", 200), ("other", 404)])
async def test_a_constraint_on_one_s_own_patient_holds_for_changes_of_contact_details(
    world: Harness, family: str, status: int
) -> None:
    """What may be changed are contact details; what is seen is all."""
    token = await world.token("anna", scope=f"patient/Patient.rus?family={family}")
    change = [{"op": "add", "path": "/telecom", "value": [{"system": "phone", "value": "1"}]}]
    assert (await world.patch("Patient/anna", change, token)).status_code == status


@pytest.mark.requirement("R-6.2", "R-6.3", "R-7.22")
@pytest.mark.parametrize("query", ["actor=Practitioner/dr-lee", "status=booked", "patient=Patient/anna"])
async def test_a_constraint_on_one_s_own_part_of_a_shared_appointment_is_granted(world: Harness, query: str) -> None:
    assert await reads(world, "anna", f"patient/Appointment.rs?{query}", world.shared) == 200  # type: ignore[attr-defined]


@pytest.mark.requirement("R-6.2", "R-6.4")
async def test_explaining_a_scope_is_no_search(world: Harness) -> None:
    """Who may not search a type learns nothing of it by a constraint of their own choice."""

    async def asked(caller: str, **more: str) -> Any:
        about = {"client": "backend", "interaction": "read", "type": "Observation", "id": "lab"} | more
        return await world.get(f"$access-explain?{urlencode(about)}", caller)

    assert (await asked("auditor")).json()["parameter"][1]["valueInteger"] == 200
    for code in (LABORATORY, "other"):
        assert (await asked("auditor", scope=f"system/Observation.rs?category={code}")).status_code == 403
    told = await asked("admin", scope="system/Observation.rs?category=other")
    assert told.json()["parameter"][1]["valueInteger"] == 404
    hidden = await asked("admin", client="patient-portal", user="anna", type="Practitioner", id="dr-lee",
                         scope="patient/Practitioner.rs?email=lee@home.example")  # fmt: skip
    assert hidden.json()["parameter"][1]["valueInteger"] == 403
