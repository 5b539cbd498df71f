"""People of a tenant: their accounts and passwords (argon2id, RFC 9106)."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import get_args

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.access import Role
from fhir_server.store.protocol import Unit
from smart_auth import revocations

KIND = "account"
NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,127}")
MAX_PASSWORD = 1024  # characters
# In the place of a hash: the person signs in elsewhere.
NO_PASSWORD = "!"  # noqa: S105 - none at all
# Which resource stands for a person of a role.
FHIR_USER: dict[Role, tuple[str, ...]] = {
    "patient": ("Patient",),
    "proxy": ("RelatedPerson",),
    "practitioner": ("Practitioner", "PractitionerRole"),
    "front-desk": ("Practitioner", "PractitionerRole", "Person"),
    "auditor": ("Practitioner", "PractitionerRole", "Person"),
    "administrator": ("Practitioner", "PractitionerRole", "Person"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in. `fhir_user` is a relative reference, for instance `Patient/123`."""

    name: str
    password_hash: str
    role: Role
    fhir_user: str
    display: str = ""
    disabled: bool = False

    def __post_init__(self) -> None:
        if NAME.fullmatch(self.name) is None:
            raise ValueError("An account's name is 1 to 128 lower-case letters, digits and . _ @ + -")
        if self.role not in get_args(Role) or self.role not in FHIR_USER:
            raise ValueError("That role is none that a person has.")
        target = local_reference(self.fhir_user)
        if target is None or target.version or target.type not in FHIR_USER[self.role]:
            kinds = " or ".join(FHIR_USER[self.role])
            raise ValueError(f"An account of role {self.role} needs a reference to a {kinds}.")


async def hash_password(password: str) -> str:
    """The argon2id hash, made in a thread. Raises ValueError for an empty or overlong password."""
    if not 0 < len(password) <= MAX_PASSWORD:
        raise ValueError(f"A password is 1 to {MAX_PASSWORD} characters.")
    return await asyncio.to_thread(_hasher().hash, password)


async def verify_password(account: Account | None, password: str) -> bool:
    """Whether the password is the account's, in a thread; as slow when there is no account or it is disabled."""
    has_one = account is not None and account.password_hash != NO_PASSWORD
    fits = account is not None and has_one and not account.disabled and len(password) <= MAX_PASSWORD
    stored = account.password_hash if account is not None and has_one else None
    return await asyncio.to_thread(_matches, stored, password[:MAX_PASSWORD]) and fits


async def save(unit: Unit, account: Account) -> None:
    """Store an account, replacing the one of its name; a disabled one's tokens are refused from now on."""
    await unit.keep(KIND, account.name, json.dumps(asdict(account)).encode())
    mark = revocations.user_mark(account.name)
    if account.disabled:
        await revocations.revoke(unit, mark, None)
    else:
        await revocations.restore(unit, mark)


async def load(unit: Unit, name: str) -> Account | None:
    """The account of that name, a disabled one too."""
    if NAME.fullmatch(name) is None:
        return None
    stored = await unit.peek(KIND, name)
    return None if stored is None else Account(**json.loads(stored))


async def all_accounts(unit: Unit) -> Sequence[Account]:
    """The tenant's accounts, by name."""
    found = (Account(**json.loads(value)) for _, value in await unit.kept(KIND))
    return sorted(found, key=lambda account: account.name)


async def disable(unit: Unit, name: str) -> bool:
    """Let the person sign in no more. False when there is no such account."""
    account = await load(unit, name)
    if account is None:
        return False
    await save(unit, replace(account, disabled=True))
    return True


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    return _hasher().hash("the password of nobody")


def _matches(stored: str | None, password: str) -> bool:
    try:
        return _hasher().verify(stored or _nobodys_hash(), password)
    except (Argon2Error, InvalidHashError):
        return False
