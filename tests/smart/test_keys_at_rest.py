"""Private keys encrypted at rest, and clients' keys by URL without SSRF."""

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
import respx
from joserfc.jwk import ECKey

from fhir_server.app import make_parts
from fhir_server.settings import Settings
from fhir_server.store.protocol import Unit
from smart_auth import keys, seals
from smart_auth.errors import InvalidClient
from smart_auth.jwks_url import JwksFetcher
from smart_auth.outbound import Outbound
from tests.smart.site import FixedClock

KEY = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
URL = "https://keys.example.com/jwks.json"
JWKS = {"keys": [ECKey.generate_key("P-384", {"kid": "1"}).as_dict(private=False)]}


async def stored_keys(folder: Path, key: str) -> list[bytes]:
    parts = make_parts(Settings(data=folder, key=key), clock=FixedClock())
    if not await parts.store.has("demo"):
        await parts.store.create_tenant("demo")
    await parts.services.signing_key("demo")

    async def work(unit: Unit) -> list[bytes]:
        return [value for _, value in await unit.kept(keys.KIND)]

    found = await parts.store.run("demo", work, write=False)
    await parts.store.close()
    return found


async def test_keys_are_encrypted_where_there_is_a_key(tmp_path: Path) -> None:
    (sealed,) = await stored_keys(tmp_path / "a", KEY)
    assert b"jwk" not in sealed
    (plain,) = await stored_keys(tmp_path / "b", "")
    assert b"jwk" in plain


async def test_keys_open_with_their_own_key_only(tmp_path: Path) -> None:
    first = await stored_keys(tmp_path, KEY)
    assert await stored_keys(tmp_path, KEY) == first
    for other in ("", base64.urlsafe_b64encode(bytes(32)).decode()):
        with pytest.raises(ValueError, match="FHIR_SERVER_KEY"):
            await stored_keys(tmp_path, other)


async def test_keys_from_before_are_still_read(tmp_path: Path) -> None:
    plain = await stored_keys(tmp_path, "")
    assert await stored_keys(tmp_path, KEY) == plain


@pytest.mark.parametrize("key", ["short", "!" * 43, "A" * 44])
def test_a_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="FHIR_SERVER_KEY"):
        seals.from_setting(key)


def test_a_key_is_not_shown() -> None:
    assert KEY not in repr(Settings(key=KEY))


# JWK Sets by URL


def fetcher(*addresses: str, allow_loopback: bool = False, clock: FixedClock | None = None) -> JwksFetcher:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return JwksFetcher(clock or FixedClock(), Outbound(allow_loopback=allow_loopback, resolve=resolve))


@respx.mock
async def test_keys_are_fetched_from_the_address_that_was_checked() -> None:
    """DNS rebinding gains nothing: the connection does not ask for the name again."""
    route = respx.get("https://8.8.8.8/jwks.json").respond(json=JWKS)
    found = await fetcher("8.8.8.8")(URL)
    assert found["keys"][0]["kid"] == "1"
    request = route.calls.last.request
    assert request.headers["host"] == "keys.example.com"
    assert request.extensions["sni_hostname"] == "keys.example.com"


@respx.mock
@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fc00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1", "255.255.255.255"],
)  # fmt: skip
async def test_no_private_address_is_called(address: str) -> None:
    for addresses in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
        with pytest.raises(InvalidClient):
            await fetcher(*addresses)(URL)
    assert not respx.calls


@respx.mock
@pytest.mark.parametrize("url", ["http://keys.example.com/", "file:///etc/passwd", "ftp://x/", "//x", "", "https://"])
async def test_nothing_but_https_is_called(url: str) -> None:
    with pytest.raises(InvalidClient):
        await fetcher("8.8.8.8")(url)
    assert not respx.calls


@respx.mock
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "http://127.0.0.1/"}),
        httpx.Response(404, json=JWKS),
        httpx.Response(200, content=b"x" * 70_000),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": []}),
        httpx.Response(200, content=b"\xff"),
    ],
)
async def test_whatever_else_comes_is_refused(answer: httpx.Response) -> None:
    respx.get("https://8.8.8.8/jwks.json").mock(return_value=answer)
    with pytest.raises(InvalidClient):
        await fetcher("8.8.8.8")(URL)
    assert len(respx.calls) == 1


@respx.mock
async def test_this_machine_is_called_only_where_a_setting_allows_it() -> None:
    respx.get("http://127.0.0.1:9000/jwks.json").respond(json=JWKS)
    found = await fetcher("127.0.0.1", allow_loopback=True)("http://localhost:9000/jwks.json")
    assert found["keys"]
    with pytest.raises(InvalidClient):
        await fetcher("10.0.0.1", allow_loopback=True)("http://localhost:9000/jwks.json")


@respx.mock
@pytest.mark.parametrize(("header", "calls"), [("max-age=120", 1), ("", 2), ("no-store", 3), ("max-age=999999", 1)])
async def test_a_set_is_kept_no_longer_than_its_cache_control_says(header: str, calls: int) -> None:
    respx.get("https://8.8.8.8/jwks.json").respond(json=JWKS, headers={"Cache-Control": header} if header else {})
    clock = FixedClock()
    fetch = fetcher("8.8.8.8", clock=clock)
    for seconds in (1, 70, 1):
        await fetch(URL)
        clock.advance(seconds)
    assert len(respx.calls) == calls
