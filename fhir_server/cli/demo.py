"""`demo`: the whole booking journey over HTTP, narrated, each step checked.

Apps get their tokens over HTTP. People's tokens are minted as an operator's from the server's data folder, since
signing in needs a browser.
"""

import argparse
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from fhir_server.cli.journey import Journey
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened
from fhir_server.cli.steps import StepFailed, Tokens
from smart_auth import operator


async def run(arguments: argparse.Namespace) -> int:
    """Walk the journey; refuse with the step that did not do what it should."""
    base = arguments.base.rstrip("/")
    tenant = _tenant_of(base)
    correlation = f"demo-{secrets.token_hex(8)}"
    headers = {"Content-Type": "application/fhir+json", "X-Correlation-Id": correlation}
    try:
        with httpx.Client(timeout=30, headers=headers) as http:
            origin = _origin(http, base)
            tokens = await _tokens(arguments, tenant, origin, http)
            Journey(http, base, tokens, correlation).walk()
    except StepFailed as failed:
        raise Refusal(f"The step '{failed.step}' did not do what it should: {failed}") from failed
    except httpx.HTTPError as error:
        raise Refusal(f"There is no answer from {base} ({type(error).__name__}); is the server running?") from error
    return 0


def _tenant_of(base: str) -> str:
    parts = urlsplit(base).path.strip("/").split("/")
    if len(parts) != 2 or parts[1] != "fhir":
        raise Refusal("--base is the FHIR base of a clinic, such as http://127.0.0.1:8000/demo/fhir.")
    return parts[0]


def _origin(http: httpx.Client, base: str) -> str:
    """The server's own public origin, which its tokens name."""
    answer = http.get(f"{base}/metadata")
    if answer.status_code != 200:
        raise Refusal(f"{base} is no FHIR base of this server: its metadata answers {answer.status_code}.")
    statement: dict[str, Any] = answer.json()
    url = str(statement.get("implementation", {}).get("url", base))
    return url.rsplit("/", 2)[0]


async def _tokens(arguments: argparse.Namespace, tenant: str, origin: str, http: httpx.Client) -> Tokens:
    """Everybody's bearer tokens."""
    wanted = {
        "dr-lee": operator.Wanted("provider-portal", "user/*.cruds", "dr-lee"),
        "anna": operator.Wanted("patient-portal", "patient/*.crus", "anna"),
    }
    made = {}
    async with opened(arguments, "demo") as shell:
        services = replace(shell.parts.services, origin=origin)
        for name, one in wanted.items():
            made[name] = await operator.mint(services, tenant, one)
    auth = f"{arguments.base.rstrip('/').removesuffix('/fhir')}/auth/token"
    for client, scope in (
        ("website-builder", "system/Appointment.crs system/Slot.rs"),
        ("auditor", "system/AuditEvent.rs"),
    ):
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = http.post(
            auth,
            data=form,
            auth=(client, f"demo-{client}"),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        if answer.status_code != 200:
            raise Refusal(f"The app {client} got no token ({answer.status_code}); is this the demo clinic?")
        made[client] = answer.json()["access_token"]
    return Tokens(made)
