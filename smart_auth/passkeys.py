"""Passkeys: public keys by which people sign in, kept for each tenant (WebAuthn Level 2).

An authenticator verifies its person, so a passkey is two factors by itself, and no code is asked beside it.

    passkey    SHA-256 of the credential's id -> Passkey: its id, whose, public key, counter, label
    passkeys   account -> Owned: the person's random handle, their passkeys, whether these alone sign them in
    challenge  what for, and SHA-256 of the cookie -> the challenge; five minutes, once
"""

import base64
import hashlib
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Unit
from smart_auth.grants import digest
from smart_auth.urls import TenantUrls

KIND, OWNER, CHALLENGE = "passkey", "passkeys", "challenge"
CHALLENGE_LIFETIME: Micros = 5 * 60 * 1_000_000
MOST_OF_A_PERSON = 10
MAX_LABEL = 60  # characters


class Unverified(Exception):
    """What an authenticator answered is not good."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who asks for a passkey (the relying party): a domain, the origin of its pages, and a name for people."""

    id: str
    origin: str
    name: str


@dataclass(frozen=True, slots=True)
class Passkey:
    """One credential. `name` is what it is kept by; id and public key are in base64url; times in microseconds."""

    name: str
    id: str
    account: str
    public_key: str
    count: int
    label: str
    created: Micros
    used: Micros = 0


@dataclass(frozen=True, slots=True)
class Owned:
    """What a person has. `only`: no password signs them in."""

    handle: str
    names: tuple[str, ...] = ()
    only: bool = False


def party(urls: TenantUrls) -> Party | None:
    """The relying party of a tenant, by the public origin; None where browsers make no passkeys.

    They do on https with a domain name, and on localhost (WebAuthn §5.1.3 step 7).
    """
    parts = urlsplit(urls.origin)
    host = parts.hostname or ""
    if not host or _is_address(host) or (parts.scheme != "https" and host != "localhost"):
        return None
    return Party(host, f"{parts.scheme}://{parts.netloc}", urls.tenant)


async def new_challenge(unit: Unit, purpose: Literal["make", "use"], cookie: str, now: Micros) -> bytes:
    """A challenge for the browser with this cookie; an older one of the same purpose is no good any more."""
    challenge = secrets.token_bytes(32)
    await unit.keep(CHALLENGE, f"{purpose} {digest(cookie)}", challenge, now + CHALLENGE_LIFETIME)
    return challenge


async def take_challenge(unit: Unit, purpose: Literal["make", "use"], cookie: str) -> bytes:
    """The challenge that the browser was given, used up now. Raises Unverified."""
    challenge = await unit.take(CHALLENGE, f"{purpose} {digest(cookie)}") if cookie else None
    if challenge is None:
        raise Unverified
    return challenge


async def load(unit: Unit, id_: bytes) -> Passkey | None:
    """The passkey of a credential's id."""
    stored = await unit.peek(KIND, name_of(id_))
    return None if stored is None else Passkey(**json.loads(stored))


async def owned(unit: Unit, account: str) -> Owned:
    """What a person has; for one who has none yet, with a new handle."""
    stored = await unit.peek(OWNER, account)
    if stored is None:
        return Owned(encode(secrets.token_bytes(32)))
    written = json.loads(stored)
    return Owned(written["handle"], tuple(written["names"]), written["only"])


async def owned_from_now_on(unit: Unit, account: str) -> Owned:
    """The same, and the handle of one who has none yet is kept: a passkey is about to be made for it."""
    owner = await owned(unit, account)
    await _keep_owned(unit, account, owner)
    return owner


async def of_account(unit: Unit, account: str) -> Sequence[Passkey]:
    """A person's passkeys, oldest first."""
    found = [await unit.peek(KIND, name) for name in (await owned(unit, account)).names]
    return [Passkey(**json.loads(stored)) for stored in found if stored is not None]


async def add(unit: Unit, owner: Owned, passkey: Passkey) -> bool:
    """Keep a new passkey of its account. False when its id is taken in this tenant, or the person has too many."""
    if await unit.peek(KIND, passkey.name) is not None or len(owner.names) >= MOST_OF_A_PERSON:
        return False
    await _keep(unit, passkey)
    await _keep_owned(unit, passkey.account, replace(owner, names=(*owner.names, passkey.name)))
    return True


async def note_use(unit: Unit, name: str, count: int, now: Micros) -> bool:
    """Note that a passkey signed with this counter. False when the counter does not go forward: there is a copy.

    Authenticators without a counter always say 0 (WebAuthn §6.1.1).
    """
    stored = await unit.peek(KIND, name)
    if stored is None:
        raise Unverified
    passkey = Passkey(**json.loads(stored))
    if (count or passkey.count) and count <= passkey.count:
        return False
    await _keep(unit, replace(passkey, count=count, used=now))
    return True


async def remove(unit: Unit, account: str, name: str) -> bool:
    """Remove a person's passkey. False when it is not theirs, or the last one of somebody without a password."""
    owner = await owned(unit, account)
    left = tuple(each for each in owner.names if each != name)
    if len(left) == len(owner.names) or (owner.only and not left):
        return False
    await unit.take(KIND, name)
    await _keep_owned(unit, account, replace(owner, names=left))
    return True


async def remove_all(unit: Unit, account: str) -> int:
    """Remove all passkeys of a person, who signs in with the password again; how many there were."""
    owner = await owned(unit, account)
    for name in owner.names:
        await unit.take(KIND, name)
    await unit.take(OWNER, account)
    return len(owner.names)


async def set_only(unit: Unit, account: str, *, only: bool) -> bool:
    """Whether passkeys alone sign a person in. False when they have none."""
    owner = await owned(unit, account)
    if only and not owner.names:
        return False
    if owner.names:
        await _keep_owned(unit, account, replace(owner, only=only))
    return True


async def takes_password(unit: Unit, account: str) -> bool:
    """Whether the person may sign in with a password as well."""
    return not (await owned(unit, account)).only


def name_of(id_: bytes) -> str:
    """What a credential is kept by."""
    return hashlib.sha256(id_).hexdigest()


def encode(raw: bytes) -> str:
    """Bytes in base64url."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Bytes from base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _keep(unit: Unit, passkey: Passkey) -> None:
    await unit.keep(KIND, passkey.name, json.dumps(asdict(passkey)).encode())


async def _keep_owned(unit: Unit, account: str, owner: Owned) -> None:
    await unit.keep(OWNER, account, json.dumps(asdict(owner)).encode())
