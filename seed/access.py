"""The demo clinic's clients and people, with their published secrets (docs: interfaces, "Demo clinic").

Whoever reads the README knows them: they are for trying the server out, and `seed` alone makes them, for the tenant
`demo` and no other.
"""

import asyncio
from typing import Any

from fhir_server.interactions.access import Role
from fhir_server.store.protocol import Unit
from smart_auth import accounts, clients
from smart_auth.accounts import Account
from smart_auth.clients import Client

REDIRECTS = ("http://127.0.0.1:8000/demo/callback", "http://localhost:4567/callback")
_PUBLIC = ("Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole", "Schedule", "Slot")
_SIGN_IN = ("openid", "fhirUser")


def secret_of(client_id: str) -> str:
    """The published secret of a confidential demo client."""
    return f"demo-{client_id}"


def password_of(name: str) -> str:
    """The published password of a person."""
    return f"demo-{name}"


def _confidential(client_id: str, **registration: Any) -> Client:
    hashed = clients.hash_secret(secret_of(client_id))
    return Client(client_id, "confidential-symmetric", secret_hash=hashed, **registration)


CLIENTS: tuple[Client, ...] = (
    _confidential(
        "website-builder",
        name="Website builder",
        surface="website",
        scopes=(*(f"system/{type_}.rs" for type_ in _PUBLIC), "system/Appointment.crs"),
        grant_types=("client_credentials",),
    ),
    Client(
        "patient-portal",
        "public",
        name="Patient portal",
        surface="patient-portal",
        scopes=("patient/*.crus", *_SIGN_IN, "launch", "launch/patient", "offline_access", "online_access"),
        grant_types=("authorization_code", "refresh_token"),
        redirect_uris=REDIRECTS,
    ),
    Client(
        "website-booking",
        "public",
        name="Booking on the clinic's website",
        surface="website",
        scopes=(
            *(f"patient/{type_}.rs" for type_ in (*_PUBLIC, "Patient")),
            "patient/Appointment.crs",
            *_SIGN_IN,
            "launch/patient",
        ),
        grant_types=("authorization_code",),
        redirect_uris=REDIRECTS,
    ),
    _confidential(
        "provider-portal",
        name="Provider portal",
        surface="provider-portal",
        scopes=(
            "user/*.cruds",
            "patient/*.cruds",
            *_SIGN_IN,
            "launch",
            "launch/patient",
            "offline_access",
            "online_access",
        ),
        grant_types=("authorization_code", "refresh_token"),
        redirect_uris=REDIRECTS,
    ),
    _confidential(
        "auditor",
        name="Auditor",
        surface="auditor",
        scopes=("system/AuditEvent.rs",),
        grant_types=("client_credentials",),
    ),
    _confidential(
        "admin",
        name="Administration",
        surface="administrator",
        scopes=("system/*.cruds",),
        grant_types=("client_credentials",),
    ),
)

# name, role, who it is, how they are called
PEOPLE: tuple[tuple[str, Role, str, str], ...] = (
    ("anna", "patient", "Patient/anna", "Anna Avery"),
    ("ben", "patient", "Patient/ben", "Ben Bennett"),
    ("dr-lee", "practitioner", "Practitioner/dr-lee", "Dr. Grace Lee"),
    ("dr-kim", "practitioner", "Practitioner/dr-kim", "Dr. Daniel Kim"),
    ("sam", "front-desk", "Person/sam", "Sam Ortiz"),
    ("olga", "auditor", "Person/olga", "Olga Novak"),
    ("root", "administrator", "Person/root", "Robin Root"),
)


def staff() -> list[dict[str, Any]]:
    """The people of the clinic who are neither patients nor practitioners."""
    return [
        {
            "resourceType": "Person",
            "id": name,
            "name": [{"given": [display.split()[0]], "family": display.split()[1]}],
            "active": True,
        }
        for name, _, who, display in PEOPLE
        if who.startswith("Person/")
    ]


async def people() -> list[Account]:
    """The accounts, with their passwords hashed in threads."""
    hashes = await asyncio.gather(*(accounts.hash_password(password_of(name)) for name, *_ in PEOPLE))
    return [
        Account(name, hashed, role, who, display)
        for (name, role, who, display), hashed in zip(PEOPLE, hashes, strict=True)
    ]


async def register(unit: Unit, made: list[Account]) -> None:
    """Keep all clients and accounts."""
    for client in CLIENTS:
        await clients.save(unit, client)
    for account in made:
        await accounts.save(unit, account)
