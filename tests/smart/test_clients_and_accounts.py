"""Registrations of clients and accounts of people: kept, listed, disabled; secrets and passwords."""

import hmac
from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from fhir_server.store.protocol import Unit
from smart_auth import accounts, clients
from smart_auth.accounts import Account
from smart_auth.clients import Client, hash_secret, import_jwks

SYMMETRIC = Client(
    "website", "confidential-symmetric", "website", ("system/Slot.rs",), ("client_credentials",),
    secret_hash=hash_secret("right"), name="Website",
)  # fmt: skip


async def test_a_client_comes_back_as_it_was_saved(clinic: Any) -> None:
    async def work(unit: Unit) -> list[Client | None]:
        await clients.save(unit, SYMMETRIC)
        listed = [client for client in await clients.all_clients(unit) if client.client_id == "website"]
        return [await clients.load(unit, "website"), *listed, await clients.load(unit, "no/such")]

    assert await clinic.write(work, "other") == [SYMMETRIC, SYMMETRIC, None]


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their hashes, and also where there is no secret to compare with."""
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert SYMMETRIC.knows_secret("right")
    assert not SYMMETRIC.knows_secret("wrong")
    assert not SYMMETRIC.knows_secret("\ud800")
    assert not clients.NOBODY.knows_secret("right")
    assert compared == [(64, 64)] * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"client_id": "a b"},
        {"client_id": "../x"},
        {"kind": "public"},
        {"kind": "trusted"},
        {"surface": "backdoor"},
        {"surface": "patient-portal"},
        {"grant_types": ("password",)},
        {"secret_hash": ""},
        {"jwks_uri": "https://app.example/jwks"},
    ],
)
def test_a_registration_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(SYMMETRIC, **changes)


def test_a_jwk_set_is_stripped_to_public_signing_keys() -> None:
    rsa, elliptic = RSAKey.generate_key(2048), ECKey.generate_key("P-384")
    private = [{**rsa.as_dict(private=True), "kid": "1"}, {**elliptic.as_dict(private=True), "kid": "2"}]
    stored = import_jwks({"keys": private})["keys"]
    assert [key["kid"] for key in stored] == ["1", "2"]
    assert all("d" not in key and "p" not in key for key in stored)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "keys",
    [
        None,
        [],
        {},
        ["x"],
        [{"kty": "RSA", "kid": "1"}],
        [{**RSAKey.generate_key(2048).as_dict(private=False), "kid": ""}],
        [{**OctKey.generate_key(256).as_dict(private=True), "kid": "1"}],
        [{**OKPKey.generate_key("Ed25519").as_dict(private=False), "kid": "1"}],
    ],
)
def test_a_jwk_set_that_cannot_serve_is_refused(keys: Any) -> None:
    with pytest.raises(ValueError, match="JWK Set"):
        import_jwks({"keys": keys})


@pytest.mark.requirement("R-6.6")
async def test_a_password_is_checked_against_its_argon2id_hash() -> None:
    account = Account("anna", await accounts.hash_password("demo-anna"), "patient", "Patient/1")
    assert account.password_hash.startswith("$argon2id$")
    assert await accounts.verify_password(account, "demo-anna")
    for password in ("demo-ann", "", "demo-anna ", "x" * 5000):
        assert not await accounts.verify_password(account, password)
    assert not await accounts.verify_password(replace(account, disabled=True), "demo-anna")
    assert not await accounts.verify_password(None, "the password of nobody")
    assert not await accounts.verify_password(replace(account, password_hash="x"), "x")


async def test_a_password_is_no_prefix_of_a_longer_one() -> None:
    longest = "x" * accounts.MAX_PASSWORD
    account = Account("anna", await accounts.hash_password(longest), "patient", "Patient/1")
    assert await accounts.verify_password(account, longest)
    assert not await accounts.verify_password(account, longest + "y")
    for password in ("", longest + "y"):
        with pytest.raises(ValueError):
            await accounts.hash_password(password)


async def test_accounts_are_kept_listed_and_disabled(clinic: Any) -> None:
    async def work(unit: Unit) -> list[Any]:
        found = [await accounts.disable(unit, "anna"), await accounts.disable(unit, "nobody")]
        return [*found, *((each.name, each.disabled) for each in await accounts.all_accounts(unit))]

    assert await clinic.write(work) == [True, False, ("anna", True), ("dr-lee", False)]


@pytest.mark.parametrize(
    ("name", "role", "fhir_user"),
    [
        ("Anna", "patient", "Patient/1"),
        ("", "patient", "Patient/1"),
        ("anna", "patient", "Practitioner/1"),
        ("anna", "patient", "Patient/1/_history/2"),
        ("anna", "patient", "https://elsewhere.example/Patient/1"),
        ("anna", "practitioner", "Patient/1"),
        ("anna", "practitioner", ""),
        ("anna", "service", "Practitioner/1"),
        ("anna", "root", "Practitioner/1"),
    ],
)
def test_an_account_that_fits_no_person_is_refused(name: str, role: Any, fhir_user: str) -> None:
    with pytest.raises(ValueError):
        Account(name, "x", role, fhir_user)
