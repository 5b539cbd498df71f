"""The OpenID provider with which a clinic's people sign in instead of the built-in login: its configuration.

The schema stands beside this module (`provider.schema.json`). The client's secret is encrypted like the signing keys.

    provider  `openid` -> the configuration, as it was given; `openid-secret` -> the client's secret
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

from fhir_server.interactions.access import Role
from fhir_server.store.protocol import Unit
from smart_auth.keys import Seal

KIND = "provider"
CONFIGURATION, SECRET = "openid", "openid-secret"
SCHEMA = Path(__file__).with_name("provider.schema.json")


@dataclass(frozen=True, slots=True)
class Provider:
    """A configuration. `roles`, `fhir_user_claim`: only where accounts are made (`creates`)."""

    issuer: str
    client_id: str
    name: str
    account_claim: str
    secret: str = field(default="", repr=False)
    client_authentication: str = "client_secret_basic"
    scope: str = "openid"
    algorithms: tuple[str, ...] = ("RS256",)
    required_claims: Mapping[str, Any] = field(default_factory=dict)
    creates: bool = False
    role_claim: str = ""
    roles: Mapping[str, Role] = field(default_factory=dict)
    fhir_user_claim: str = ""
    is_inside: bool = False


@cache
def validator() -> "Draft202012Validator":
    """The validator of configurations."""
    from jsonschema import Draft202012Validator  # which a server that starts has no use for

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(given: Any) -> list[str]:
    """What is wrong with a configuration, each with its place."""
    found = sorted(validator().iter_errors(given), key=lambda error: [str(step) for step in error.absolute_path])
    return [f"{'.'.join(map(str, error.absolute_path)) or 'the file'}: {error.message}" for error in found]


def needs_secret(given: Mapping[str, Any]) -> bool:
    """Whether a sound configuration goes with a client's secret."""
    return given.get("client-authentication") != "none"


async def save(unit: Unit, seal: Seal, given: Mapping[str, Any], secret: str) -> None:
    """Have a clinic's people sign in with this provider; a sound configuration, and the secret it needs."""
    await unit.keep(KIND, CONFIGURATION, json.dumps(given).encode())
    await unit.keep(KIND, SECRET, seal.close(secret.encode()))


async def load(unit: Unit, seal: Seal) -> Provider | None:
    """The clinic's provider; None: people sign in with accounts of this server."""
    given, secret = await unit.peek(KIND, CONFIGURATION), await unit.peek(KIND, SECRET)
    return None if given is None else _read(json.loads(given), seal.open(secret or b"").decode())


async def configuration(unit: Unit) -> dict[str, Any] | None:
    """The configuration as it was given, without the secret."""
    stored = await unit.peek(KIND, CONFIGURATION)
    return None if stored is None else cast(dict[str, Any], json.loads(stored))


async def remove(unit: Unit) -> bool:
    """Let people sign in with accounts of this server again. False when they did."""
    await unit.take(KIND, SECRET)
    return await unit.take(KIND, CONFIGURATION) is not None


def _read(given: Mapping[str, Any], secret: str) -> Provider:
    roles = given.get("roles", {})
    return Provider(
        given["issuer"],
        given["client-id"],
        given["name"],
        given["account-claim"],
        secret,
        given.get("client-authentication", "client_secret_basic"),
        given.get("scope", "openid"),
        tuple(given.get("algorithms", ("RS256",))),
        given.get("required-claims", {}),
        given.get("accounts") == "create",
        roles.get("claim", ""),
        roles.get("values", {}),
        given.get("fhir-user-claim", ""),
        given.get("private-network", False),
    )
