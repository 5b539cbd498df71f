"""The token endpoint over HTTP: client_credentials in its three kinds of authentication, and every refusal."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import OctKey

from fhir_server.fhir.errors import Unavailable
from fhir_server.store.protocol import Unit
from smart_auth import clients
from smart_auth.services import AuthEvent, Services
from smart_auth.token import routes

SECRET = "a-secret-of-the-website"
BASIC = f"website-builder:{SECRET}"
GRANT = {"grant_type": "client_credentials", "scope": "system/Appointment.cr"}


def check_refused(answer: httpx.Response, status: int, error: str, words: str = "") -> None:
    """RFC 6749 §5.2: JSON with error and description, never cached; no secret in it."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json().keys() == {"error", "error_description"}
    assert words in answer.json()["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@asynccontextmanager
async def serving(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(routes(services), prefix="/{tenant}/auth")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://x") as http:
        yield http


@pytest.mark.requirement("R-8.4")
async def test_a_secret_in_the_basic_header_gets_a_token(clinic: Any) -> None:
    """RFC 6749 §4.4.3, §5.1; SMART backend-services: at most 300 seconds."""
    answer = await clinic.token(basic=BASIC, **GRANT)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, "system/Appointment.cr")
    verified = await clinic.verifier().verify("demo", body["access_token"])
    assert verified.agent.role == "website"


async def test_a_secret_in_the_body_gets_a_token(clinic: Any) -> None:
    answer = await clinic.token(client_id="website-builder", client_secret=SECRET, **GRANT)
    assert answer.status_code == 200


async def test_a_basic_header_is_form_encoded(clinic: Any) -> None:
    """RFC 6749 §2.3.1."""

    async def work(unit: Unit) -> None:
        client = await clients.load(unit, "website-builder")
        assert client is not None
        await clients.save(unit, replace(client, secret_hash=clients.hash_secret("a b:c%é")))

    await clinic.write(work)
    assert (await clinic.token(basic="website-builder:a+b%3Ac%25%C3%A9", **GRANT)).status_code == 200


@pytest.mark.parametrize(("kid", "alg"), [("rsa", "RS384"), ("ec", "ES384")])
async def test_a_signed_assertion_gets_a_token(clinic: Any, kid: str, alg: str) -> None:
    """SMART client-confidential-asymmetric."""
    answer = await clinic.backend_token(clinic.assertion(kid, alg))
    assert answer.status_code == 200, answer.text
    verified = await clinic.verifier().verify("demo", answer.json()["access_token"])
    assert (verified.agent.role, verified.agent.client_id) == ("service", "backend")


async def test_version_1_scopes_are_answered_as_asked(clinic: Any) -> None:
    answer = await clinic.backend_token(clinic.assertion(), "system/Patient.read system/*.read")
    assert answer.json()["scope"] == "system/Patient.read system/*.read"


@pytest.mark.parametrize(
    "credentials",
    [
        {"basic": "website-builder:wrong"},
        {"basic": "website-builder:"},
        {"basic": f"nobody:{SECRET}"},
        {"basic": f"patient-portal:{SECRET}"},
        {"basic": "patient-portal:"},
        {"basic": f"backend:{SECRET}"},
        {"basic": f"../x:{SECRET}"},
        {"client_id": "website-builder", "client_secret": "wrong"},
        {"client_id": "backend", "client_secret": SECRET},
    ],
)
async def test_every_failed_secret_has_one_answer(clinic: Any, credentials: dict[str, str]) -> None:
    """Unknown client, wrong secret, and a secret for a client of another kind cannot be told apart."""
    check_refused(await clinic.token(**credentials, **GRANT), 401, "invalid_client", "Client authentication failed.")


@pytest.mark.parametrize("credentials", [{}, {"client_id": "website-builder"}, {"client_id": "patient-portal"}])
async def test_no_authentication_is_refused(clinic: Any, credentials: dict[str, str]) -> None:
    check_refused(await clinic.token(**credentials, **GRANT), 401, "invalid_client")


async def test_a_disabled_client_gets_no_token(clinic: Any) -> None:
    assert (await clinic.token(basic=BASIC, **GRANT)).status_code == 200
    assert await clinic.write(lambda unit: clients.disable(unit, "website-builder"))
    assert await clinic.write(lambda unit: clients.disable(unit, "backend"))
    check_refused(await clinic.token(basic=BASIC, **GRANT), 401, "invalid_client")
    check_refused(await clinic.backend_token(clinic.assertion()), 401, "invalid_client")


async def test_a_rotated_secret_replaces_the_old_one(clinic: Any) -> None:
    secret = await clinic.write(lambda unit: clients.rotate_secret(unit, "website-builder"))
    check_refused(await clinic.token(basic=BASIC, **GRANT), 401, "invalid_client")
    assert (await clinic.token(basic=f"website-builder:{secret}", **GRANT)).status_code == 200


@pytest.mark.requirement("R-6.1")
async def test_a_client_of_another_clinic_is_unknown(clinic: Any) -> None:
    check_refused(await clinic.token("other", basic=BASIC, **GRANT), 401, "invalid_client")
    aud = "https://fhir.example.org/other/auth/token"
    assertion = clinic.assertion(aud=aud)
    answer = await clinic.token(
        "other",
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion=assertion,
        **GRANT,
    )
    check_refused(answer, 401, "invalid_client", "failed")


async def test_two_ways_of_authentication_are_refused(clinic: Any) -> None:
    """RFC 6749 §2.3."""
    check_refused(await clinic.token(basic=BASIC, client_secret=SECRET, **GRANT), 400, "invalid_request", "one way")
    check_refused(
        await clinic.backend_token(clinic.assertion(), client_secret=SECRET), 400, "invalid_request", "one way"
    )
    check_refused(await clinic.token(basic=BASIC, client_id="backend", **GRANT), 400, "invalid_request", "differs")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"aud": "https://fhir.example.org/other/auth/token"}, "aud"),
        ({"aud": "https://fhir.example.org/demo/auth"}, "aud"),
        ({"aud": ["https://fhir.example.org/demo/auth/token", "https://evil.example/token"]}, "aud"),
        ({"aud": None}, "aud"),
        ({"exp": 1_799_999_999}, "expired"),
        ({"exp": 1_800_000_000}, "expired"),
        ({"exp": 1_800_000_400}, "five minutes"),
        ({"exp": None}, "exp"),
        ({"exp": "1800000100"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("inf")}, "five minutes"),
        ({"nbf": 1_800_000_200}, "nbf"),
        ({"iat": 1_800_000_200}, "iat"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"sub": "website-builder"}, "sub"),
        ({"iss": "nobody", "sub": "nobody"}, "failed"),
        ({"iss": "website-builder", "sub": "website-builder"}, "failed"),
        ({"iss": None}, "failed"),
        ({"header_kid": "ec"}, "failed"),
        ({"header_kid": "unknown"}, "failed"),
        ({"kid": "other", "header_kid": "rsa"}, "failed"),
        ({"header": {"jku": "https://evil.example/jwks"}}, "failed"),
        ({"alg": "RS256"}, "failed"),
        ({"alg": "RS512"}, "failed"),
    ],
)
async def test_a_wrong_assertion_is_refused(clinic: Any, changes: dict[str, Any], words: str) -> None:
    """RFC 7523 §3; SMART: any failure is invalid_client."""
    assertion = clinic.assertion(**changes)
    answer = await clinic.backend_token(assertion)
    check_refused(answer, 401, "invalid_client", words)
    assert assertion.split(".")[2] not in answer.text + repr(clinic.events)


async def test_an_unsigned_or_mac_signed_assertion_is_refused(clinic: Any) -> None:
    header, claims, _ = clinic.assertion().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"rsa"}').decode().rstrip("=")
    check_refused(await clinic.backend_token(f"{none}.{claims}."), 401, "invalid_client", "failed")
    pem = OctKey.import_key(base64.urlsafe_b64encode(clinic.keys["rsa"].as_der(private=False)).decode())
    for alg in ("HS256", "HS384"):
        mac = jwt.encode({"alg": alg, "kid": "rsa"}, {"iss": "backend"}, pem, algorithms=[alg])
        check_refused(await clinic.backend_token(mac), 401, "invalid_client", "failed")
    for text in ("x", "a.b.c", f"{header}.{claims}", "é.é.é", "A" * 20_000):
        check_refused(await clinic.backend_token(text), 401, "invalid_client", "failed")


async def test_an_assertion_counts_once(clinic: Any) -> None:
    """RFC 7523 §3 (7): also when its lifetime is nearly over, and also when many come at once."""
    assertion = clinic.assertion(jti="once")
    answers = await asyncio.gather(*(clinic.backend_token(assertion) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    clinic.clock.advance(239)
    check_refused(await clinic.backend_token(assertion), 401, "invalid_client", "used before")
    check_refused(await clinic.backend_token(clinic.assertion(jti="once")), 401, "invalid_client", "used before")
    clinic.clock.advance(2)
    assert (await clinic.backend_token(clinic.assertion(jti="once"))).status_code == 200


async def test_a_used_assertion_stays_used_when_the_scope_is_refused(clinic: Any) -> None:
    assertion = clinic.assertion()
    check_refused(await clinic.backend_token(assertion, "system/Patient.cruds"), 400, "invalid_scope")
    check_refused(await clinic.backend_token(assertion), 401, "invalid_client", "used before")


async def test_keys_by_url_are_fetched_where_the_app_lets_them(clinic: Any) -> None:
    """SMART: a registered JWKS URL; `jku` may name it and nothing else."""
    asked = []

    async def fetch(url: str) -> dict[str, Any]:
        asked.append(url)
        return {"keys": [{**clinic.keys["rsa"].as_dict(private=False), "kid": "rsa"}]}

    async def register(unit: Unit) -> None:
        client = await clients.load(unit, "backend")
        assert client is not None
        await clients.save(unit, replace(client, jwks=None, jwks_uri="https://app.example/jwks"))

    await clinic.write(register)
    check_refused(await clinic.backend_token(clinic.assertion()), 401, "invalid_client", "failed")
    form = {
        **GRANT,
        "scope": "system/Patient.rs",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    async with serving(replace(clinic.services, fetch_jwks=fetch)) as http:
        for header, status in (({}, 200), ({"jku": "https://app.example/jwks"}, 200), ({"jku": "https://evil"}, 401)):
            form["client_assertion"] = clinic.assertion(header=header)
            assert (await http.post("/demo/auth/token", data=form)).status_code == status
    assert set(asked) == {"https://app.example/jwks"}


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("", "Name the scopes"),
        ("system/Appointment.cruds", "registered"),
        ("system/Appointment.cr system/Patient.r", "registered"),
        ("system/*.cr", "registered"),
        ("system/Appointment.rc", "in that order"),
        ("system/Appointment.r?status=proposed", "constraint"),
        ("system/Nonsense.r", "does not have"),
        ("user/Appointment.r", "needs a person"),
        ("patient/Appointment.r", "needs a person"),
        ("openid", "needs a person"),
        ('system/"x".r', "RFC 6749"),
        ("system/\u00e9.r", "RFC 6749"),
    ],
)
async def test_a_scope_beyond_the_registration_is_refused(clinic: Any, scope: str, words: str) -> None:
    answer = await clinic.token(basic=BASIC, grant_type="client_credentials", scope=scope)
    check_refused(answer, 400, "invalid_scope", words)


@pytest.mark.parametrize("grant_type", ["password", "implicit", "x"])
async def test_a_grant_type_that_is_not_there_is_refused(clinic: Any, grant_type: str) -> None:
    answer = await clinic.token(basic=BASIC, grant_type=grant_type, scope="system/Appointment.c")
    check_refused(answer, 400, "unsupported_grant_type")


async def test_a_client_of_people_has_no_token_of_its_own(clinic: Any) -> None:
    answer = await clinic.token(basic="provider-portal:another", grant_type="client_credentials", scope="system/Slot.r")
    check_refused(answer, 400, "unauthorized_client")

    async def register(unit: Unit) -> None:
        client = await clients.load(unit, "website-builder")
        assert client is not None
        await clients.save(unit, replace(client, grant_types=("refresh_token",)))

    await clinic.write(register)
    check_refused(await clinic.token(basic=BASIC, **GRANT), 400, "unauthorized_client")


async def test_the_request_must_be_a_form(clinic: Any) -> None:
    post = clinic.http.post
    url, kind = "/demo/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}
    check_refused(await post(url, json=GRANT), 400, "invalid_request", "form")
    check_refused(await post(url), 400, "invalid_request", "form")
    check_refused(await post(url, content=b"", headers=kind), 400, "invalid_request", "grant_type")
    check_refused(await post(url, content=b"grant_type=a&grant_type=b", headers=kind), 400, "invalid_request", "twice")
    check_refused(await post(url, content=b"\xff=%ff", headers=kind), 400, "invalid_request", "UTF-8")
    check_refused(await post(url, content=b"a=%ff", headers=kind), 400, "invalid_request", "UTF-8")
    check_refused(await post(url, content=b"&a=" * 400, headers=kind), 400, "invalid_request", "300")
    check_refused(await post(url, content=b"a" * 70_000, headers=kind), 400, "invalid_request", "longer")
    wrong_type = await clinic.token(client_assertion_type="x", client_assertion=clinic.assertion(), **GRANT)
    check_refused(wrong_type, 400, "invalid_request", "client_assertion_type")
    for value in ("Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Bearer x", "Basic /w=="):
        headers = kind | {"Authorization": value}
        check_refused(await post(url, data=GRANT, headers=headers), 401, "invalid_client")


async def test_parameters_in_the_url_do_not_count(clinic: Any) -> None:
    """RFC 6749 §2.3.1: credentials never in the URI."""
    query = f"?client_id=website-builder&client_secret={SECRET}"
    answer = await clinic.http.post(f"/demo/auth/token{query}", data=GRANT)
    check_refused(answer, 401, "invalid_client")
    assert (await clinic.http.get(f"/demo/auth/token{query}")).status_code == 405


async def test_an_unknown_clinic_is_not_found(clinic: Any) -> None:
    for answer in (await clinic.token("nowhere", basic=BASIC, **GRANT), await clinic.http.get("/nowhere/auth/jwks")):
        assert answer.status_code == 404
        assert answer.json()["error"] == "invalid_request"


@pytest.mark.requirement("R-6.5")
async def test_every_token_and_every_refusal_is_recorded(clinic: Any, read_jwt: Callable[..., Any]) -> None:
    token = await clinic.website_token()
    await clinic.token(basic="website-builder:a-wrong-one", **GRANT)
    await clinic.token(basic=BASIC, grant_type="client_credentials", scope="system/*.cruds")
    await clinic.token(basic="<script>:x", **GRANT)
    now = clinic.clock()
    assert clinic.events[0] == AuthEvent(
        "demo", now, "token", "done", "client_credentials", "website-builder", "website-builder",
        "system/Appointment.cr", read_jwt(token, 1)["jti"], address="127.0.0.1",
    )  # fmt: skip
    seen = [(event.outcome, event.client_id, event.error) for event in clinic.events[1:]]
    assert seen == [
        ("refused", "website-builder", "invalid_client"),
        ("refused", "website-builder", "invalid_scope"),
        ("refused", "", "invalid_client"),
    ]
    for text in (SECRET, "a-wrong-one", token):
        assert text not in repr(clinic.events)


@pytest.mark.requirement("R-6.5", "R-10.11")
async def test_no_token_leaves_unrecorded(clinic: Any) -> None:
    async def fails(_: AuthEvent) -> None:
        raise Unavailable("The disk is full.", retry_after_seconds=7)

    async with serving(replace(clinic.services, record=fails)) as http:
        for auth in (("website-builder", SECRET), ("website-builder", "wrong")):
            answer = await http.post("/demo/auth/token", data=GRANT, auth=auth)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "7"
            assert answer.json() == {"error": "temporarily_unavailable", "error_description": "Try again later."}


async def test_the_request_id_reaches_the_record(clinic: Any) -> None:
    await clinic.http.post("/demo/auth/token", data=GRANT, headers={"X-Request-Id": "abc-1"})
    await clinic.http.post("/demo/auth/token", data=GRANT, headers={"X-Request-Id": "a b\t<"})
    assert [event.request_id for event in clinic.events] == ["abc-1", ""]


async def test_nothing_secret_is_logged(clinic: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    token = await clinic.website_token()
    await clinic.token(basic="website-builder:a-wrong-one", **GRANT)
    for text in (SECRET, "a-wrong-one", token):
        assert text not in caplog.text
