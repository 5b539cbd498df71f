"""What a clinic's authorization server says of itself, and that it is true (SMART App Launch 2.2.0 conformance)."""

from typing import Any

import pytest

from smart_auth import discovery
from tests.smart.site import ORIGIN, Site


@pytest.mark.parametrize("accept", ["application/json", "application/fhir+xml", "text/html", "*/*;q=0"])
async def test_the_smart_configuration_is_json_for_anybody(site: Site, accept: str) -> None:
    answer = await site.get(
        discovery.SMART_PATH, Accept=accept, Origin="https://any.example.com", Authorization="Bearer x"
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_the_smart_configuration_has_what_is_required(site: Site) -> None:
    found = (await site.get(discovery.SMART_PATH)).json()
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert set(found["grant_types_supported"]) >= {"authorization_code", "client_credentials"}
    assert found["issuer"] == f"{ORIGIN}/demo/auth"
    assert "registration_endpoint" not in found
    for name, value in found.items():
        if name.endswith(("_endpoint", "_uri", "issuer")):
            assert value.startswith(f"{ORIGIN}/demo/auth"), name
    for endpoint in ("authorization_endpoint", "jwks_uri", "management_endpoint"):
        assert (await site.browser.get(found[endpoint])).status_code in (200, 400)
    for endpoint in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        assert (await site.browser.post(found[endpoint])).status_code == 400


async def test_the_openid_configuration_agrees_with_it(site: Site) -> None:
    smart = (await site.get(discovery.SMART_PATH)).json()
    openid = (await site.browser.get("/demo/auth/.well-known/openid-configuration")).json()
    assert openid["issuer"] == smart["issuer"]
    assert openid["id_token_signing_alg_values_supported"] == ["RS256"]
    assert openid["subject_types_supported"] == ["public"]
    assert {name: openid[name] for name in smart.keys() & openid.keys()} == {
        name: smart[name] for name in smart.keys() & openid.keys()
    }
    other = await site.browser.get("/.well-known/oauth-authorization-server/demo/auth")
    assert other.json() == openid


async def test_an_unknown_clinic_has_none(site: Site) -> None:
    for path in ("/nowhere/fhir/.well-known/smart-configuration", "/nowhere/auth/.well-known/openid-configuration",
                 "/nowhere/auth/jwks", "/nowhere/auth/login"):  # fmt: skip
        assert (await site.browser.get(path)).status_code == 404, path


async def test_the_capability_statement_names_the_endpoints(site: Site) -> None:
    """SMART 1.0 oauth-uris."""
    security: dict[str, Any] = (await site.get("metadata")).json()["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    uris = {part["url"]: part["valueUri"] for part in security["extension"][0]["extension"]}
    assert uris["authorize"] == f"{ORIGIN}/demo/auth/authorize"
    assert uris["token"] == f"{ORIGIN}/demo/auth/token"


async def test_every_scope_that_is_listed_can_be_parsed(site: Site) -> None:
    from smart_auth.scopes import parse

    for scope in discovery.SCOPES:
        parse(scope)
