"""Signing keys: made once, rotated, published without their private part."""

import asyncio
from pathlib import Path
from typing import Any

from fhir_server.store.protocol import Unit
from smart_auth import keys
from smart_auth.keys import RETIRED_FOR, Unsealed


async def test_the_jwk_set_is_public_and_nothing_else(clinic: Any) -> None:
    """RFC 7517 §4, §5."""
    answer = await clinic.http.get("/demo/auth/jwks")
    assert answer.status_code == 200
    key, of_id_tokens = sorted(answer.json()["keys"], key=lambda one: str(one["kty"]))
    assert (of_id_tokens["kty"], of_id_tokens["alg"]) == ("RSA", "RS256")
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    rsa = keys.generate("RS256", 0).public()
    assert rsa.keys() == {"kty", "n", "e", "kid", "alg", "use"}


async def test_clinics_have_different_keys(clinic: Any) -> None:
    demo, other = [(await clinic.http.get(f"/{tenant}/auth/jwks")).json() for tenant in ("demo", "other")]
    assert demo["keys"][0]["kid"] != other["keys"][0]["kid"]


async def test_one_key_is_made_however_many_ask(clinic: Any) -> None:
    made = await asyncio.gather(*(clinic.services.signing_key("demo") for _ in range(10)))
    assert len({key.kid for key in made}) == 1


async def test_a_retired_key_is_published_until_its_tokens_are_gone(clinic: Any) -> None:
    first = await clinic.services.signing_key("demo")
    second = await clinic.write(lambda unit: keys.rotate(unit, Unsealed(), clinic.clock()))
    ring = await clinic.services.key_ring("demo")
    assert [key.kid for key in ring.keys if key.retired is None] == [second.kid]
    assert ring.verifying(first.kid, "ES256") is not None
    assert ring.verifying(first.kid, "RS256") is None
    clinic.clock.advance(RETIRED_FOR / 1_000_000 + 1)
    assert {key.kid for key in (await clinic.services.key_ring("demo")).keys} == {second.kid}


async def test_a_seal_stands_between_the_key_and_the_store(clinic: Any, tmp_path: Path) -> None:
    class Reversed:
        def close(self, plain: bytes) -> bytes:
            return plain[::-1]

        def open(self, stored: bytes) -> bytes:
            return stored[::-1]

    async def work(unit: Unit) -> tuple[str, bytes, str]:
        made = await keys.rotate(unit, Reversed(), clinic.clock())
        stored = await unit.peek(keys.KIND, made.kid)
        read = (await keys.load(unit, Reversed())).signing("ES256")
        assert stored is not None
        assert read is not None
        return made.kid, stored, read.kid

    kid, stored, read = await clinic.write(work, "other")
    assert stored.startswith(b"}")
    assert kid == read
