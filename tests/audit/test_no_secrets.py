"""Nothing in the log carries a token, a password, a secret or what was found, wherever a caller puts it."""

import base64

import pytest

from fhir_server.audit import masking
from fhir_server.rest.pipeline import SERVER_LOG
from fhir_server.store.protocol import AuditQuery, Unit
from profiles import definitions
from tests.harness import FORM, SECRET, Harness, patient, proposal

PASSWORD = "Correct-Horse-Battery-9"
LOGIN = "/demo/auth/login"


async def _raw(clinic: Harness, tenant: str) -> bytes:
    """Every entry as it is stored."""

    async def work(unit: Unit) -> bytes:
        return b"\n".join([each.body for each in await unit.audited(AuditQuery(count=100_000))])

    return await clinic.run(work, tenant=tenant)


async def _urls(clinic: Harness, secret: str) -> None:
    """In paths and queries: of searches, reads, operations, refusals and unknown places; named, or by its shape."""
    for caller in ("anonymous", "dr-lee", "anna"):
        for path in (
            f"Slot?access_token={secret}", f"Slot?status=free&ACCESS_TOKEN={secret}", f"Slot?my_password={secret}",
            f"Slot?access%5Ftoken={secret}&status=free", f"Patient?client_secret={secret}&family=x",
            f"Patient/anna?id_token={secret}", f"Patient/anna/$everything?token={secret}", f"metadata?apikey={secret}",
            f"Nothing/x?code_verifier={secret}", f"Patient/anna/$nothing?refresh_token={secret}",
            f"_history?client_assertion={secret}", f"?_type=Patient&secret={secret}",
        ):  # fmt: skip
            await clinic.get(path, caller)
    await clinic.get(f"Slot?access_token={secret}", tenant="nowhere")


async def _shapes(clinic: Harness, token: str) -> None:
    """Where no name says what it is: only its shape does."""
    for path in (token, f"Patient/{token}", f"Patient/anna/{token}", f"Slot?{token}", f"Slot?status={token}",
                 f"Slot?x=y|{token}", f"Slot?x=Bearer%20{token}", f"Slot?x={token.replace('.', '%2E')}"):  # fmt: skip
        for method in ("GET", "POST", "DELETE"):
            await clinic.send(method, path, "dr-lee")
            await clinic.send(method, path)
    await clinic.get("Slot", headers={"X-Correlation-Id": f"Bearer {token}"[:128]})
    await clinic.get("Slot", headers={"X-Correlation-Id": token[:128]})


async def _bodies(clinic: Harness, secret: str) -> None:
    """In forms, JSON, entries of Bundles and headers."""
    for text, kind in ((f"access_token={secret}&status=free", FORM), (f'{{"client_secret":"{secret}"}}', FORM),
                       (f'{{"password":"{secret}"}}', "application/json"), (secret, "text/plain")):  # fmt: skip
        for path in ("Slot/_search", "Patient/_search", "_search", "Nothing/_search"):
            await clinic.send("POST", path, "dr-lee", content=text, headers={"Content-Type": kind})
    entries = [
        {"request": {"method": "GET", "url": f"Slot?access_token={secret}"}},
        {"request": {"method": "GET", "url": f"Slot/x?password={secret}"}},
        {"request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={secret}"}, "resource": {}},
    ]
    for kind in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        await clinic.send("POST", "", "dr-lee", json_=bundle)
    for header in ("Authorization", "If-Match", "If-None-Exist", "Prefer", "Accept", "Content-Type", "Cookie",
                   "X-Request-Id", "traceparent", "User-Agent", "X-Security-Context"):  # fmt: skip
        if header != "X-Request-Id" or "/" in secret:  # an id as it should look is an id
            await clinic.get("Patient/anna", headers={header: secret})
    await clinic.get("Slot", headers={"Authorization": f"Bearer {secret}"})


async def _at_the_authorization_server(clinic: Harness, secret: str) -> None:
    """In every field of its forms, the wrong ones too."""
    basic = base64.b64encode(f"{secret}:{secret}".encode()).decode()
    fields = ("client_id", "client_secret", "grant_type", "scope", "code", "refresh_token", "code_verifier", "username",
              "password", "client_assertion", "client_assertion_type", "redirect_uri", "token", "state")  # fmt: skip
    sound = {"grant_type": "client_credentials", "client_id": "admin", "client_secret": "wrong"}
    for place in ("token", "revoke", "introspect"):
        for name in fields:
            await clinic.http.post(f"/demo/auth/{place}", data=sound | {name: secret})
        await clinic.http.post(
            f"/demo/auth/{place}", data={"token": secret}, headers={"Authorization": f"Basic {basic}"}
        )
    for name in fields:
        given = {
            "response_type": "code",
            "client_id": "patient-portal",
            "redirect_uri": "http://localhost:4567/callback",
        }
        await clinic.http.get("/demo/auth/authorize", params=given | {name: secret})
    await clinic.http.post(
        "/demo/auth/register", json={"client_name": secret}, headers={"Authorization": f"Bearer {secret}"}
    )
    for name, password in ((secret, "x"), ("anna", secret), (secret, secret)):
        page = await clinic.http.get(LOGIN)
        form_token = page.text.split('name="form_token"', 1)[1].split('value="', 1)[1].split('"', 1)[0]
        form = {"name": name, "password": password, "request": "", "form_token": form_token}
        cookie = page.headers["set-cookie"].partition(";")[0]  # over http no client sends it by itself
        headers = {"Sec-Fetch-Site": "same-origin", "Cookie": cookie}
        answer = await clinic.http.post(LOGIN, data=form, headers=headers)
        assert answer.status_code == 401, answer.text


@pytest.mark.requirement("R-6.5", "R-10.8")
async def test_the_log_holds_no_secret_and_nothing_that_was_found(clinic: Harness) -> None:
    """Issue 7, "Must hold": the entries as stored, of the clinic and of the server, after secrets everywhere."""
    await clinic.seed(clinic.slot("s"), patient("hidden", birthDate="1911-11-11", telecom=[{"value": "+49-77-Phone"}]))
    token = await clinic.token("dr-lee")
    receipt = (await clinic.create(proposal("s"), "anonymous")).headers["proposal-receipt"]
    for secret in (token, receipt, SECRET, PASSWORD):
        await _urls(clinic, secret)
        await _bodies(clinic, secret)
        await _at_the_authorization_server(clinic, secret)
    for shaped in (token, receipt):
        await _shapes(clinic, shaped)
    for path in ("Patient/hidden", "Patient?family=Hid", "Patient/hidden/$everything", "Patient/hidden/_history"):
        assert "1911" in (await clinic.get(path, "admin")).text
    clinic.clock.advance(60_000_000)
    await clinic.parts.pipeline.sum_up(all_=True)
    stored = b"\n".join([await _raw(clinic, "demo"), await _raw(clinic, SERVER_LOG)])
    assert stored.count(b"\n") > 500
    hidden = [token, *token.split("."), receipt, receipt.removeprefix("pr."), SECRET, PASSWORD, "1911", "+49-77"]
    folded = stored.lower()
    assert [each for each in hidden if each.lower().encode() in folded] == []


def test_what_is_searched_for_stays_in_the_log() -> None:
    """What is left out is no search parameter of R4, and an innocent query is recorded as it was sent."""
    for parameter in definitions.load().search_parameters:
        assert masking.pairs(f"{parameter.code}=x") == f"{parameter.code}=x"
    for text in ("family=Bearer&given=Basic", "name:contains=pr.", "identifier=http%3A%2F%2Fa|1&date=ge2027-01-01",
                 "_has:Observation:patient:code=1234-5", "url=http://x/pr.1", ""):  # fmt: skip
        assert masking.pairs(text) == text
