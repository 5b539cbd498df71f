"""Tokens for operators: what is checked before one is signed."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.fhir.errors import NotFound
from smart_auth import accounts, clients
from smart_auth.errors import OAuthError
from smart_auth.operator import Wanted, mint


async def test_a_token_for_a_person(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    token = await mint(clinic.services, "demo", Wanted("patient-portal", "patient/*.rs launch/patient", "anna"))
    agent = (await clinic.verifier().verify("demo", token)).agent
    assert (agent.role, agent.fhir_user, agent.patient, agent.name) == ("patient", "Patient/anna", "anna", "Anna")
    assert agent.is_human
    claims = read_jwt(token, 1)
    assert (claims["sub"], claims["surface"], claims["exp"] - claims["iat"]) == ("anna", "patient-portal", 3600)
    assert [(e.outcome, e.subject, e.token_id) for e in clinic.events] == [("done", "anna", claims["jti"])]


async def test_a_token_for_a_client(clinic: Any) -> None:
    token = await mint(clinic.services, "demo", Wanted("website-builder", "system/Appointment.cr"))
    agent = (await clinic.verifier().verify("demo", token)).agent
    assert (agent.role, agent.client_id, agent.is_human) == ("website", "website-builder", False)


async def test_a_provider_token_in_the_context_of_a_patient(clinic: Any) -> None:
    token = await mint(clinic.services, "demo", Wanted("provider-portal", "patient/*.rs", "dr-lee", patient="anna"))
    agent = (await clinic.verifier().verify("demo", token)).agent
    assert (agent.role, agent.patient) == ("practitioner", "anna")


@pytest.mark.requirement("R-6.3")
@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Wanted("nobody", "system/Slot.rs"), "invalid_client"),
        (Wanted("patient-portal", "patient/*.rs"), "unauthorized_client"),
        (Wanted("patient-portal", "patient/*.rs", "ghost"), "access_denied"),
        (Wanted("patient-portal", "patient/*.rs", "../x"), "access_denied"),
        (Wanted("patient-portal", "patient/*.rs", "dr-lee"), "access_denied"),
        (Wanted("provider-portal", "user/*.rs", "anna"), "access_denied"),
        (Wanted("patient-portal", "patient/*.rs", "anna", patient="ben"), "access_denied"),
        (Wanted("provider-portal", "patient/*.rs", "dr-lee", patient="a/b"), "access_denied"),
        (Wanted("provider-portal", "patient/*.rs", "dr-lee"), "invalid_scope"),
        (Wanted("patient-portal", "patient/*.cruds", "anna"), "invalid_scope"),
        (Wanted("patient-portal", "", "anna"), "invalid_scope"),
        (Wanted("patient-portal", "patient/Patient.rs?_id=1", "anna"), "invalid_scope"),
        (Wanted("website-builder", "system/Slot.rs system/Slot.c"), "invalid_scope"),
        (Wanted("provider-portal", "system/Slot.rs", "dr-lee"), "invalid_scope"),
    ],
)
async def test_a_token_that_should_not_be_is_refused_and_recorded(clinic: Any, wanted: Wanted, code: str) -> None:
    with pytest.raises(OAuthError) as caught:
        await mint(clinic.services, "demo", wanted)
    assert caught.value.code == code
    assert [(event.outcome, event.error) for event in clinic.events] == [("refused", code)]


async def test_disabled_people_and_clients_get_none(clinic: Any) -> None:
    wanted = Wanted("patient-portal", "patient/*.rs", "anna")
    await mint(clinic.services, "demo", wanted)
    await clinic.write(lambda unit: accounts.disable(unit, "anna"))
    with pytest.raises(OAuthError, match="disabled"):
        await mint(clinic.services, "demo", wanted)
    await clinic.write(lambda unit: clients.disable(unit, "website-builder"))
    with pytest.raises(OAuthError, match="disabled"):
        await mint(clinic.services, "demo", Wanted("website-builder", "system/Slot.rs"))


async def test_an_unknown_clinic_is_not_found(clinic: Any) -> None:
    with pytest.raises(NotFound):
        await mint(clinic.services, "nowhere", Wanted("website-builder", "system/Slot.rs"))
