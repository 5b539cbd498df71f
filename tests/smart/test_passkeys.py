"""Passkeys: made, used, listed and removed, and the attacks on them (WebAuthn Level 2 §7.1, §7.2, §13)."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.app import make_app, make_parts
from fhir_server.settings import Settings
from fhir_server.store.protocol import AuditQuery, Unit
from smart_auth import accounts, ceremony, passkeys, totp
from smart_auth.accounts import Account
from smart_auth.passkeys import Party, Unverified
from smart_auth.urls import TenantUrls
from tests.smart.authenticator import PRESENT, Authenticator, encode
from tests.smart.site import CHEAP, ORIGIN, FixedClock, Page, Site, fill, open_site

LOGIN, PASSKEYS = f"{ORIGIN}/demo/auth/login", f"{ORIGIN}/demo/auth/passkeys"
Credential = dict[str, Any]


@pytest.fixture
async def site(store_kind: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A whole server over each store, with a browser."""
    async with open_site(store_kind, tmp_path) as made:
        yield made


@pytest.fixture
async def phone(site: Site) -> Authenticator:
    """anna's authenticator, with a passkey; nobody is signed in."""
    made = Authenticator()
    assert (await add(site, "anna", made)).status_code == 303
    site.browser.cookies.clear()
    return made


async def options(site: Site, url: str, page: httpx.Response) -> httpx.Response:
    token = dict(Page(page).fields)["form_token"]
    return await site.submit(url, [("form_token", token)])


async def add(site: Site, name: str, authenticator: Authenticator, **changes: Any) -> httpx.Response:
    """Sign in and add a passkey, as the page's script does."""
    site.browser.cookies.clear()
    await site.sign_in(LOGIN, name)
    page = await site.browser.get(PASSKEYS)
    asked = await options(site, f"{PASSKEYS}/new", page)
    assert asked.status_code == 200, asked.text
    return await send_new(site, page, authenticator.make(asked.json(), **changes))


async def send_new(site: Site, page: httpx.Response, credential: Any, label: str = "my phone") -> httpx.Response:
    token = dict(Page(page).fields)["form_token"]
    fields = [("form_token", token), ("action", "add"), ("label", label), ("credential", json.dumps(credential))]
    return await site.submit(PASSKEYS, fields)


async def remove(site: Site, page: httpx.Response) -> httpx.Response:
    """Press the first button for it."""
    fields = dict(reversed(Page(page).fields))
    sent = [(name, fields[name]) for name in ("form_token", "passkey")]
    return await site.submit(PASSKEYS, [*sent, ("action", "remove")])


async def asked_to_use(site: Site, url: str = LOGIN) -> tuple[httpx.Response, dict[str, Any]]:
    """The sign-in page, and what its script asks the authenticator."""
    page = await site.browser.get(url)
    if page.status_code == 303:
        page = await site.browser.get(page.headers["location"])
    answer = await options(site, f"{LOGIN}/passkey", page)
    assert answer.status_code == 200, answer.text
    return page, answer.json()


async def send(site: Site, page: httpx.Response, credential: Credential | str) -> httpx.Response:
    text = credential if isinstance(credential, str) else json.dumps(credential)
    fields = [pair for pair in Page(page).fields if pair[0] != "credential"]
    return await site.submit(Page(page).action, [*fields, ("credential", text)])


async def sign_in(site: Site, authenticator: Authenticator, **changes: Any) -> httpx.Response:
    page, asked = await asked_to_use(site)
    return await send(site, page, authenticator.use(asked, **changes))


@asynccontextmanager
async def at(site: Site, address: str) -> AsyncIterator[Site]:
    """The site as another browser sees it, at this address."""
    transport = httpx.ASGITransport(app=site.app, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as browser:
        yield replace(site, browser=browser)


async def logins(site: Site) -> list[tuple[str, str]]:
    return [event[1:] for event in await site.audited() if event[0] == "login"]


def check_refused(answer: httpx.Response) -> None:
    """The same answer as to a wrong password."""
    assert answer.status_code == 401
    assert "wrong, or there were too many" in answer.text


# What it is for


@pytest.mark.parametrize("attestation", ["none", "packed"])
async def test_a_person_adds_a_passkey_and_signs_in_with_it_to_an_app(site: Site, attestation: str) -> None:
    phone = Authenticator(attestation=attestation)
    added = await add(site, "anna", phone)
    assert (added.status_code, added.headers["location"]) == (303, PASSKEYS)
    site.browser.cookies.clear()
    page, asked = await asked_to_use(site, site.authorize_url())
    assert (asked["rpId"], asked["userVerification"], asked.get("allowCredentials", [])) == (
        "fhir.example.org", "required", [],
    )  # fmt: skip
    answer = await send(site, page, phone.use(asked))
    consent = await site.browser.get(answer.headers["location"])
    got = await site.redirected(await site.press(consent, "allow"))
    assert (await site.redeem(got)).json()["patient"] == "anna"


async def test_what_the_browser_makes_a_passkey_by(site: Site) -> None:
    """Discoverable, with user verification; a handle that tells nothing about the person, and stays the same."""
    await site.sign_in(LOGIN, "anna")
    page = await site.browser.get(PASSKEYS)
    first, second = [(await options(site, f"{PASSKEYS}/new", page)).json() for _ in range(2)]
    assert first["rp"] == {"id": "fhir.example.org", "name": "demo"}
    assert first["authenticatorSelection"] == {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required",
    }  # fmt: skip
    assert first["attestation"] == "none"
    assert first["user"] == second["user"]
    assert (len(first["user"]["id"]), first["user"]["name"]) == (43, "anna (demo)")
    assert first["challenge"] != second["challenge"]


async def test_no_code_is_asked_beside_a_passkey(site: Site, phone: Authenticator) -> None:
    """It is two factors: the authenticator, and what it verifies its person by."""
    await site.write(lambda unit: totp.set_up(unit, site.parts.services.seal, "anna", "demo"))
    assert (await sign_in(site, phone)).status_code == 303


async def test_a_person_has_several_lists_and_removes_them(site: Site, phone: Authenticator) -> None:
    key = Authenticator()
    await add(site, "anna", key)
    page = await site.browser.get(PASSKEYS)
    assert page.text.count("my phone<small>Added 2027-01-15, not used yet") == 2
    assert (await remove(site, page)).status_code == 303
    again = await remove(site, page)
    assert (again.status_code, "cannot be removed" in again.text) == (400, True)
    site.browser.cookies.clear()
    check_refused(await sign_in(site, phone))
    assert (await sign_in(site, key)).status_code == 303
    assert "last used 2027-01-15" in (await site.browser.get(PASSKEYS)).text


async def test_there_may_be_ten_of_a_person(site: Site) -> None:
    for _ in range(passkeys.MOST_OF_A_PERSON):
        assert (await add(site, "anna", Authenticator())).status_code == 303
    asked = await options(site, f"{PASSKEYS}/new", await site.browser.get(PASSKEYS))
    assert (asked.status_code, asked.json()["error"]) == (403, "access_denied")


async def test_a_person_may_have_no_password_but_a_passkey(site: Site, phone: Authenticator) -> None:
    """What `user passkeys --only` asks for: a stolen password is worth nothing, and the last passkey stays."""
    await site.write(lambda unit: passkeys.set_only(unit, "anna", only=True))
    check_refused(await site.sign_in(LOGIN, "anna"))
    assert (await sign_in(site, phone)).status_code == 303
    page = await site.browser.get(PASSKEYS)
    assert (await remove(site, page)).status_code == 400
    assert await site.write(lambda unit: passkeys.remove_all(unit, "anna")) == 1
    site.browser.cookies.clear()
    assert (await site.sign_in(LOGIN, "anna")).status_code == 200
    assert not await site.write(lambda unit: passkeys.set_only(unit, "anna", only=True))


async def test_pages_work_without_javascript_and_say_what_needs_it(site: Site) -> None:
    page = await site.browser.get(LOGIN)
    assert "<div data-with-passkeys hidden>" in page.text
    await site.sign_in(LOGIN, "anna")
    assert "<noscript>" in (await site.browser.get(PASSKEYS)).text
    script = await site.browser.get(f"{ORIGIN}/demo/auth/passkeys.js")
    assert script.headers["content-type"].startswith("text/javascript")


async def test_it_is_audited(site: Site, phone: Authenticator) -> None:
    """R-6.5: adding, using, refusing, removing; and what was tried, without what was sent."""
    await sign_in(site, phone)
    page = await site.browser.get(PASSKEYS)
    await send_new(site, page, {})
    await remove(site, page)
    site.browser.cookies.clear()
    check_refused(await sign_in(site, phone))
    assert (await site.audited())[1:] == [
        ("passkey-add", "0", ""), ("login", "0", ""), ("passkey-add", "4", "failed"), ("passkey-remove", "0", ""),
        ("login", "4", "failed"),
    ]  # fmt: skip

    async def work(unit: Unit) -> Any:
        return await unit.audited(AuditQuery(count=1000))

    bodies = b"".join(entry.body for entry in await site.parts.store.run("demo", work, write=False))
    assert bodies.count(b"method=passkey") == 2
    for secret in (encode(phone.id), encode(phone.handle), passkeys.name_of(phone.id)):
        assert secret.encode() not in bodies


# Attacks on signing in


NOT_FOR_THIS_SERVER: list[dict[str, Any]] = [
    {"challenge": encode(b"x" * 32)},
    {"challenge": ""},
    {"origin": "https://evil.example.com"},
    {"origin": "http://fhir.example.org"},
    {"origin": "https://fhir.example.org:8443"},
    {"origin": "https://sub.fhir.example.org"},
    {"rp_id": "evil.example.com"},
    {"rp_id": "example.org"},
    {"flags": PRESENT},
    {"flags": 0x04},
    {"flags": 0},
    {"type": "webauthn.create"},
    {"cross_origin": True},
    {"handle": b"somebody else"},
    {"handle": b""},
]


async def test_an_answer_that_is_not_for_this_server_is_refused(site: Site, phone: Authenticator) -> None:
    """§7.2: challenge, origin, relying party, presence, verification, type, frame, person."""
    for changes in NOT_FOR_THIS_SERVER:
        site.clock.advance(1_000)  # not locked out meanwhile
        check_refused(await sign_in(site, phone, **changes))
        assert (await logins(site))[-1] == ("4", "failed"), changes
    site.clock.advance(1_000)
    assert (await sign_in(site, phone)).status_code == 303  # nothing else was amiss


async def test_a_challenge_counts_once(site: Site, phone: Authenticator) -> None:
    page, asked = await asked_to_use(site)
    credential = phone.use(asked)
    assert (await send(site, page, credential)).status_code == 303
    check_refused(await send(site, page, credential))
    check_refused(await send(site, page, phone.use(asked)))


async def test_a_failed_answer_uses_the_challenge_up(site: Site, phone: Authenticator) -> None:
    page, asked = await asked_to_use(site)
    check_refused(await send(site, page, phone.use(asked, flags=PRESENT)))
    check_refused(await send(site, page, phone.use(asked)))


async def test_a_challenge_is_for_five_minutes_and_one_browser(site: Site, phone: Authenticator) -> None:
    page, asked = await asked_to_use(site)
    site.clock.advance(301)
    check_refused(await send(site, page, phone.use(asked)))
    _, asked = await asked_to_use(site)
    site.browser.cookies.clear()
    other, _ = await asked_to_use(site)
    check_refused(await send(site, other, phone.use(asked)))


async def test_of_many_who_use_an_answer_at_once_one_is_let_in(site: Site, phone: Authenticator) -> None:
    page, asked = await asked_to_use(site)
    credential = phone.use(asked)
    answers = await asyncio.gather(*(send(site, page, credential) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [303, 401, 401, 401]


async def test_a_counter_that_does_not_go_forward_gives_a_copy_away(site: Site, phone: Authenticator) -> None:
    """§6.1.1: refused, and told to the auditors by name."""
    phone.step = 5
    assert (await sign_in(site, phone)).status_code == 303
    for count in (-1, 0, 1, 4):
        site.browser.cookies.clear()
        check_refused(await sign_in(site, replace(phone, count=count, step=1)))
        assert (await logins(site))[-1] == ("4", "counter")
    assert (await sign_in(site, phone)).status_code == 303


async def test_an_authenticator_without_a_counter_is_taken(site: Site, phone: Authenticator) -> None:
    phone.step = 0
    for _ in range(2):
        assert (await sign_in(site, phone)).status_code == 303
        site.browser.cookies.clear()


async def test_a_passkey_of_another_clinic_is_unknown_here(site: Site, phone: Authenticator) -> None:
    """The browser offers it, for both clinics have one domain."""

    async def work(unit: Unit) -> None:
        await accounts.save(unit, Account("anna", CHEAP.hash("demo-anna"), "patient", "Patient/anna"))

    await site.write(work, "other")
    login = f"{ORIGIN}/other/auth/login"
    page = await site.browser.get(login)
    asked = (await options(site, f"{login}/passkey", page)).json()
    check_refused(await send(site, page, phone.use(asked)))
    # Nor does a challenge of the one clinic serve in the other.
    at_demo, _ = await asked_to_use(site)
    check_refused(await send(site, at_demo, phone.use((await options(site, f"{login}/passkey", page)).json())))


async def test_one_persons_passkey_does_not_sign_in_another(site: Site, phone: Authenticator) -> None:
    """ben's key under anna's credential id, and anna's key under ben's handle."""
    bens = Authenticator()
    await add(site, "ben", bens)
    site.browser.cookies.clear()
    check_refused(await sign_in(site, replace(bens, id=phone.id, handle=phone.handle)))
    check_refused(await sign_in(site, replace(phone, handle=bens.handle)))
    check_refused(await sign_in(site, replace(bens, id=phone.id)))


async def test_a_disabled_person_is_out(site: Site, phone: Authenticator) -> None:
    await site.write(lambda unit: accounts.disable(unit, "anna"))
    check_refused(await sign_in(site, phone))


async def test_failures_lock_the_name_as_wrong_passwords_do(site: Site, phone: Authenticator) -> None:
    for _ in range(3):
        check_refused(await sign_in(site, phone, flags=PRESENT))
    for _ in range(2):
        check_refused(await site.sign_in(LOGIN, "anna", "wrong"))
    check_refused(await sign_in(site, phone))
    assert (await logins(site))[-1] == ("4", "locked")
    site.clock.advance(121)
    assert (await sign_in(site, phone)).status_code == 303


async def test_an_address_is_slowed_whatever_it_sends(site: Site, phone: Authenticator) -> None:
    page = await site.browser.get(LOGIN)
    for number in range(50):
        other = replace(phone, id=bytes([number]) * 16)
        check_refused(await send(site, page, other.use({"challenge": "eA", "rpId": "fhir.example.org"})))
    check_refused(await sign_in(site, phone))
    assert (await logins(site))[-1] == ("4", "locked")


async def test_an_address_has_fifty_challenges_unanswered(site: Site, phone: Authenticator) -> None:
    """In five minutes. The password signs in meanwhile, and no other address is slowed."""
    page = await site.browser.get(LOGIN)
    for _ in range(50):
        assert (await options(site, f"{LOGIN}/passkey", page)).status_code == 200
    site.clock.advance(299)
    refused = await options(site, f"{LOGIN}/passkey", page)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert "from your network" in refused.json()["error_description"]
    assert (await site.sign_in(LOGIN, "anna")).status_code == 200
    async with at(site, "192.0.2.7") as other:
        assert (await sign_in(other, phone)).status_code == 303
    site.clock.advance(2)
    site.browser.cookies.clear()
    assert (await sign_in(site, phone)).status_code == 303


async def test_a_challenge_that_signed_somebody_in_does_not_count(site: Site, phone: Authenticator) -> None:
    """A clinic's people come from one address."""
    for _ in range(51):
        site.browser.cookies.clear()
        assert (await sign_in(site, phone)).status_code == 303


async def test_addresses_of_one_household_count_as_one(site: Site) -> None:
    """IPv6 gives everybody 2^64 of them at least; an IPv4 address may be written as one of IPv6."""
    for addresses, status in ((["2001:db8::1", "2001:db8::ffff:2"], 429), (["192.0.2.1", "::ffff:192.0.2.1"], 429),
                              (["2001:db8:0:1::1", "2001:db8:0:2::1"], 200)):  # fmt: skip
        for address, count in zip(addresses, (50, 1), strict=True):
            async with at(site, address) as browser:
                page = await browser.browser.get(LOGIN)
                for _ in range(count):
                    last = await options(browser, f"{LOGIN}/passkey", page)
        assert last.status_code == status, addresses


async def test_answers_do_not_tell_which_passkeys_there_are(site: Site, phone: Authenticator) -> None:
    """The same status, words and form, whether the credential is known or not."""
    known = await sign_in(site, phone, flags=PRESENT)
    site.browser.cookies.clear()
    unknown = await sign_in(site, Authenticator(id=b"x" * 32), flags=PRESENT)
    for answer in (known, unknown):
        check_refused(answer)
    pages = [[pair for pair in Page(each).fields if pair[0] != "form_token"] for each in (known, unknown)]
    assert pages[0] == pages[1]


async def test_options_are_for_our_own_page(site: Site) -> None:
    page = await site.browser.get(LOGIN)
    for fields in ([], [("form_token", "0" * 64)]):
        assert (await site.submit(f"{LOGIN}/passkey", fields)).status_code == 403
    site.browser.cookies.clear()
    assert (await options(site, f"{LOGIN}/passkey", page)).status_code == 403


# Attacks on adding


NOT_MADE_FOR_IT: list[dict[str, Any]] = [
    {"challenge": encode(b"x" * 32)},
    {"origin": "https://evil.example.com"},
    {"rp_id": "evil.example.com"},
    {"flags": PRESENT},
    {"flags": 0x04},
    {"type": "webauthn.get"},
    {"cross_origin": True},
    {"algorithm": -65535},
    {"id": b"x" * 1024},
]


async def test_a_passkey_that_was_not_made_for_this_server_is_not_added(site: Site) -> None:
    """§7.1."""
    for changes in NOT_MADE_FOR_IT:
        answer = await add(site, "anna", Authenticator(), **changes)
        assert (answer.status_code, "was not added" in answer.text) == (400, True), changes
        assert (await site.audited())[-1] == ("passkey-add", "4", "failed")


async def test_a_credential_id_is_one_persons_only(site: Site, phone: Authenticator) -> None:
    """§7.1 step 22: nobody takes over the id of another."""
    answer = await add(site, "ben", Authenticator(), id=phone.id)
    assert answer.status_code == 400
    site.browser.cookies.clear()
    assert (await sign_in(site, phone)).status_code == 303


async def test_a_challenge_adds_once_and_in_its_own_session(site: Site) -> None:
    await site.sign_in(LOGIN, "anna")
    page = await site.browser.get(PASSKEYS)
    asked = (await options(site, f"{PASSKEYS}/new", page)).json()
    assert (await send_new(site, page, Authenticator().make(asked))).status_code == 303
    assert (await send_new(site, page, Authenticator().make(asked))).status_code == 400
    asked = (await options(site, f"{PASSKEYS}/new", page)).json()
    site.browser.cookies.clear()
    await site.sign_in(LOGIN, "ben")
    bens = await site.browser.get(PASSKEYS)
    assert (await send_new(site, bens, Authenticator().make(asked))).status_code == 400
    assert (await send_new(site, page, Authenticator().make(asked))).status_code == 403


async def test_a_passkey_is_added_soon_after_signing_in_only(site: Site, phone: Authenticator) -> None:
    """Whoever finds the browser open cannot stay."""
    await site.sign_in(LOGIN, "anna")
    page = await site.browser.get(PASSKEYS)
    site.clock.advance(601)
    assert (await options(site, f"{PASSKEYS}/new", page)).status_code == 403
    late = await site.browser.get(PASSKEYS)
    assert "sign in anew" in late.text
    assert "data-passkey" not in late.text
    made_up = {"user": {"id": "eA"}, "challenge": "eA", "rp": {"id": "fhir.example.org"}}
    assert (await send_new(site, page, Authenticator().make(made_up))).status_code == 400


async def test_passkeys_are_for_their_person(site: Site, phone: Authenticator) -> None:
    assert (await site.browser.get(PASSKEYS)).headers["location"] == LOGIN
    await site.sign_in(LOGIN, "ben")
    page = await site.browser.get(PASSKEYS)
    assert "my phone<small>" not in page.text
    token = dict(Page(page).fields)["form_token"]
    fields = [("form_token", token), ("action", "remove"), ("passkey", passkeys.name_of(phone.id))]
    assert (await site.submit(PASSKEYS, fields)).status_code == 400
    for forged in ([], [("form_token", "0" * 64)]):
        assert (await site.submit(PASSKEYS, [*forged, *fields[1:]])).status_code == 403
        assert (await site.submit(f"{PASSKEYS}/new", forged)).status_code == 403
    site.browser.cookies.clear()
    assert (await sign_in(site, phone)).status_code == 303


async def test_a_label_is_shown_as_text(site: Site) -> None:
    await site.sign_in(LOGIN, "anna")
    page = await site.browser.get(PASSKEYS)
    asked = (await options(site, f"{PASSKEYS}/new", page)).json()
    await send_new(site, page, Authenticator().make(asked), "<b>  \n" + "x" * 100)
    assert f"&lt;b&gt; {'x' * 56}<small>" in (await site.browser.get(PASSKEYS)).text


# Where there are none


@pytest.mark.parametrize(
    ("origin", "id_"),
    [
        ("https://fhir.example.org", "fhir.example.org"),
        ("https://fhir.example.org:8443", "fhir.example.org"),
        ("http://localhost:8000", "localhost"),
        ("http://127.0.0.1:8000", None),
        ("https://[::1]:8000", None),
        ("https://192.0.2.1", None),
        ("http://fhir.example.org", None),
    ],
)
def test_browsers_make_passkeys_for_domains_only(origin: str, id_: str | None) -> None:
    """§5.1.3 step 7. The relying party is that of the public origin."""
    party = passkeys.party(TenantUrls(origin, "demo"))
    assert party == (None if id_ is None else Party(id_, origin, "demo"))


async def test_where_browsers_make_none_no_page_speaks_of_them(tmp_path: Path) -> None:
    clock, origin = FixedClock(), "http://127.0.0.1:8000"
    parts = make_parts(Settings(data=tmp_path, origin=origin), clock=clock)
    await fill(parts)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=make_app(parts)), base_url=origin) as browser:
        page = await browser.get("/demo/auth/login")
        assert "passkey" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert (await browser.get("/demo/auth/passkeys")).status_code == 404
    await parts.store.close()


# What a stranger may send


def _good() -> tuple[Party, bytes, Credential, Credential, bytes]:
    party, challenge, device = Party("fhir.example.org", ORIGIN, "demo"), b"c" * 32, Authenticator()
    asked = {"user": {"id": "eA"}, "challenge": encode(challenge), "rp": {"id": party.id}, "rpId": party.id}
    made = device.make(asked)
    return party, challenge, made, device.use(asked), ceremony.check_made(party, challenge, json.dumps(made)).public_key


GOOD = _good()
_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary().map(encode)
_ODD = _LEAF | st.lists(_LEAF, max_size=3) | st.dictionaries(st.text(max_size=5), _LEAF, max_size=3)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_sent_is_refused_and_nothing_breaks(data: st.DataObject) -> None:
    """One part of a good answer replaced by anything, or one of its bytes changed."""
    party, challenge, made, used, public_key = GOOD
    credential = copy.deepcopy(data.draw(st.sampled_from([made, used])))
    is_new = "attestationObject" in credential["response"]
    place = data.draw(st.sampled_from([credential, credential["response"]]))
    name = data.draw(st.sampled_from(sorted(place)))
    former = place[name]
    if isinstance(former, str) and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(former) - 1))
        place[name] = former[:at] + data.draw(st.sampled_from("Aa0_-")) + former[at + 1 :]
    else:
        place[name] = data.draw(_ODD)
    text = json.dumps(credential)
    try:
        if is_new:
            ceremony.check_made(party, challenge, text)
        else:
            ceremony.claimed(text)
            ceremony.check_used(party, challenge, public_key, text)
    except Unverified:
        pass
