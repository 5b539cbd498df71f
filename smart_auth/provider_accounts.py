"""Whose account somebody is given who signed in at the clinic's OpenID provider.

A person is known by the provider's `iss` and `sub` alone (OpenID Connect Core §5.7): names and e-mail addresses go from
one person to another. The configured claim finds the account once, at the first sign-in; then the two are linked, and
neither somebody else with that name nor a new name of the same person changes it.

    provider-person   SHA-256 of iss and sub -> the account's name
    provider-account  the account's name -> SHA-256 of iss and sub
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.reference import local_reference
from fhir_server.store.protocol import Unit
from smart_auth import accounts
from smart_auth.accounts import NO_PASSWORD, Account
from smart_auth.grants import digest
from smart_auth.providers import Provider

PERSON, ACCOUNT = "provider-person", "provider-account"
MAX_DISPLAY = 100  # characters


@dataclass(frozen=True, slots=True)
class Person:
    """The account of somebody who signed in; `is_new` when it was linked now."""

    account: Account
    is_new: bool


async def find(unit: Unit, provider: Provider, claims: Mapping[str, Any], fhir_base: str) -> Person | None:
    """The account, linked or made now where the configuration says so; None: this person is not let in."""
    if not _has_what_is_required(provider, claims):
        return None
    who = digest(json.dumps([claims["iss"], claims["sub"]]))
    linked = await unit.peek(PERSON, who)
    name = linked.decode() if linked is not None else _name(provider, claims)
    if not name or (linked is None and await unit.peek(ACCOUNT, name) is not None):
        return None  # there can be no such account, or it is somebody else's
    account = await accounts.load(unit, name)
    if (account is None and linked is not None) or (account is not None and account.disabled):
        return None
    if provider.creates and (account is None or account.password_hash == NO_PASSWORD):
        account = await _made(unit, provider, claims, name, fhir_base, account)
    if account is None:
        return None
    if linked is None:
        await unit.keep(PERSON, who, name.encode())
        await unit.keep(ACCOUNT, name, who.encode())
    return Person(account, linked is None)


async def unlink(unit: Unit, name: str) -> bool:
    """Let an account be linked anew, to whoever has its name at the provider. False when it was not linked."""
    who = await unit.take(ACCOUNT, name)
    return who is not None and await unit.take(PERSON, who.decode()) is not None


def _has_what_is_required(provider: Provider, claims: Mapping[str, Any]) -> bool:
    required = dict(provider.required_claims)
    if provider.account_claim == "email":
        required["email_verified"] = True  # else anybody may claim to be anybody
    return all(type(claims.get(name)) is type(value) and claims[name] == value for name, value in required.items())


def _name(provider: Provider, claims: Mapping[str, Any]) -> str:
    """The account's name that the claim says; '' where it can be none."""
    value = claims.get(provider.account_claim)
    name = value.strip().lower() if isinstance(value, str) else ""
    return name if accounts.NAME.fullmatch(name) is not None else ""


async def _made(
    unit: Unit, provider: Provider, claims: Mapping[str, Any], name: str, fhir_base: str, former: Account | None
) -> Account | None:
    """The account as the claims have it now: what somebody is no more at the provider, they are no more here."""
    said = claims.get(provider.role_claim)
    values = said if isinstance(said, list) else [said]
    role = next((role for value, role in provider.roles.items() if value in values), None)
    fhir_user = claims.get(provider.fhir_user_claim)
    display = claims.get("name")
    shown = display if isinstance(display, str) and display.isprintable() and len(display) <= MAX_DISPLAY else ""
    if role is None or not isinstance(fhir_user, str):
        return None
    try:
        account = Account(name, NO_PASSWORD, role, fhir_user.removeprefix(f"{fhir_base}/"), shown)
    except ValueError:
        return None
    target = local_reference(account.fhir_user)
    stored = await unit.read(target.type, target.id) if target is not None else None
    if stored is None or stored.is_deleted:
        return None
    if account != former:
        await accounts.save(unit, account)
    return account
