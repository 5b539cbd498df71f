"""batch and transaction (FHIR R4 http.html#transaction, #trules)."""

import base64
from typing import Any

import pytest

from tests.harness import Harness

Resource = dict[str, Any]
P = "urn:uuid:11111111-1111-4111-8111-111111111111"
O = "urn:uuid:22222222-2222-4222-8222-222222222222"  # noqa: E741


def entry(method: str, url: str, resource: Resource | None = None, full_url: str = "", **request: str) -> Resource:
    made: Resource = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url:
        made["fullUrl"] = full_url
    return made


def person(value: str = "1", **more: Any) -> Resource:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": value}], **more}


def observation(subject: str = P, **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }


async def send(harness: Harness, *entries: Resource, type_: str = "transaction", caller: str = "admin", **more: Any):
    bundle = {"resourceType": "Bundle", "type": type_, "entry": list(entries)}
    return await harness.send("POST", "", caller, json_=bundle, **more)


def statuses(answer: Any) -> list[str]:
    return [each["response"]["status"][:3] for each in answer.json()["entry"]]


async def test_transaction_rewrites_links_between_entries(harness: Harness) -> None:
    """http.html#trules: references, uris and narrative links that are fullUrls become the new identities."""
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{P}">p</a> and <img src=\'{O}\' alt="o"/></div>'
    made = await send(
        harness,
        entry("POST", "Observation", observation(
            text={"status": "generated", "div": div},
            note=[{"text": P}],
            extension=[{"url": "urn:link", "valueUri": P}, {"url": "urn:text", "valueString": P}],
        ), O),
        entry("POST", "Patient", person(), P),
    )  # fmt: skip
    assert made.status_code == 200, made.text
    assert statuses(made) == ["201", "201"]
    seen, patient = (each["response"]["location"].split("/fhir/")[1].split("/_")[0] for each in made.json()["entry"])
    stored = await harness.stored(seen)
    assert stored["subject"]["reference"] == patient
    assert stored["extension"][0]["valueUri"] == patient
    assert stored["extension"][1]["valueString"] == P  # a string is no link
    assert stored["note"] == [{"text": P}]
    assert f'href="{patient}"' in stored["text"]["div"]
    assert f"src='{seen}'" in stored["text"]["div"]
    assert {event.subtype for event in await harness.events()} == {"create", "read"}


async def test_relative_references_are_read_against_the_fullurl(harness: Harness) -> None:
    """bundle.html#references: Patient/1 in an entry of http://a/… is http://a/Patient/1, not ours."""
    await harness.put(person("ours", id="1"))
    made = await send(
        harness,
        entry("POST", "Patient", person(), "http://a.example/fhir/Patient/1"),
        entry("POST", "Observation", observation("Patient/1"), "http://a.example/fhir/Observation/9"),
        entry("POST", "Observation", observation("Patient/1"), O),
    )
    assert made.status_code == 200, made.text
    names = [each["response"]["location"].split("/fhir/")[1].split("/_")[0] for each in made.json()["entry"]]
    subjects = [(await harness.stored(name))["subject"]["reference"] for name in names[1:]]
    assert subjects == [names[0], "Patient/1"]


async def test_entries_are_done_in_the_order_of_the_rules_and_answered_in_their_own(harness: Harness) -> None:
    await harness.put(person("old", id="old"))
    await harness.put(person("put", id="put"))
    made = await send(
        harness,
        entry("GET", "Patient?identifier=urn:mrn|new,urn:mrn|old,urn:mrn|put2"),
        entry("PUT", "Patient/put", person("put2", id="put")),
        entry("POST", "Patient", person("new"), ifNoneExist="identifier=urn:mrn|new"),
        entry("DELETE", "Patient/old"),
        entry("GET", "Patient/put"),
    )
    assert statuses(made) == ["200", "200", "201", "204", "200"], made.text
    found = made.json()["entry"][0]["resource"]
    assert sorted(each["resource"]["identifier"][0]["value"] for each in found["entry"]) == ["new", "put2"]
    assert made.json()["entry"][4]["resource"]["identifier"][0]["value"] == "put2"
    assert made.json()["type"] == "transaction-response"
    assert made.json()["entry"][1]["response"]["etag"] == 'W/"2"'
    assert "resource" not in made.json()["entry"][2]


async def test_conditional_entries_and_references_find_what_is_there(harness: Harness) -> None:
    """A conditional create that finds something lends its identity to references; so does a reference by a search."""
    there = (await harness.create(person("1"))).json()["id"]
    made = await send(
        harness,
        entry("POST", "Patient", person("1"), P, ifNoneExist="identifier=urn:mrn|1"),
        entry("POST", "Observation", observation(P)),
        entry("POST", "Observation", observation("Patient?identifier=urn:mrn|1")),
        entry("PUT", "Patient?identifier=urn:mrn|2", person("2"), O),
        entry("POST", "Observation", observation(O)),
    )
    assert statuses(made) == ["200", "201", "201", "201", "201"], made.text
    names = [each["response"]["location"].split("/fhir/")[1].split("/_")[0] for each in made.json()["entry"]]
    assert names[0] == f"Patient/{there}"
    subjects = [(await harness.stored(names[n]))["subject"]["reference"] for n in (1, 2, 4)]
    assert subjects == [names[0], names[0], names[3]]


@pytest.mark.parametrize("type_", ["transaction", "batch"])
async def test_only_the_first_question_mark_of_a_condition_separates(harness: Harness, type_: str) -> None:
    """RFC 3986 §3.4: what stands after a second one is no condition of its own."""
    await harness.put({"resourceType": "Patient", "id": "victim", "name": [{"family": "Victim"}]})
    value = "http://h/?family=Victim"
    sent = {"resourceType": "Patient", "identifier": [{"value": value}]}
    put = await send(harness, entry("PUT", f"Patient?identifier={value}", sent), type_=type_)
    post = await send(harness, entry("POST", "Patient", sent, ifNoneExist=f"Patient?identifier={value}"), type_=type_)
    assert statuses(put) + statuses(post) == ["201", "200"], put.text + post.text
    assert put.json()["entry"][0]["response"]["location"] == post.json()["entry"][0]["response"]["location"]
    assert (await harness.stored("Patient/victim"))["meta"]["versionId"] == "1"


async def test_one_condition_twice_makes_one_resource(harness: Harness) -> None:
    made = await send(
        harness,
        entry("POST", "Patient", person("1"), P, ifNoneExist="identifier=urn:mrn|1"),
        entry("POST", "Patient", person("1"), O, ifNoneExist="identifier=urn:mrn|1"),
        entry("POST", "Observation", observation(O)),
    )
    assert statuses(made) == ["201", "200", "201"], made.text
    places = [each["response"]["location"] for each in made.json()["entry"]]
    assert places[0] == places[1]
    name = places[2].split("/fhir/")[1].split("/_")[0]
    assert f"{(await harness.stored(name))['subject']['reference']}/_history/1" in places[0]


REFUSED: list[tuple[str, list[Resource], int, str]] = [
    ("control", [entry("POST", "Patient", person())], 200, ""),
    ("twins", [entry("PUT", "Patient/a", person(id="a")), entry("DELETE", "Patient/a")], 400, "Bundle.entry[1]"),
    ("one fullUrl twice", [entry("POST", "Patient", person(), P), entry("POST", "Patient", person(), P)], 400,
     "Bundle.entry[1].fullUrl"),
    ("bad resource", [entry("POST", "Patient", person()), entry("POST", "Patient", person(active="x"))], 422,
     "Bundle.entry[1].resource.active"),
    ("wrong type", [entry("POST", "Observation", person())], 400, "Bundle.entry[0].resource.resource"),
    ("no request", [{"resource": person()}], 400, "Bundle.entry[0].request"),
    ("bad method", [entry("BREW", "Patient", person())], 400, "Bundle.entry[0].request"),
    ("nested", [entry("POST", "/", {"resourceType": "Bundle", "type": "batch"})], 400, "Bundle.entry[0]"),
    ("unknown type", [entry("POST", "Colour", person())], 404, "Bundle.entry[0]"),
    ("reference finds nothing", [entry("POST", "Observation", observation("Patient?identifier=none"))], 412, None),
    ("absent", [entry("POST", "Patient", person()), entry("GET", "Patient/nobody")], 404, "Bundle.entry[1]"),
    ("stale", [entry("PUT", "Patient/b", person(id="b"), ifMatch='W/"7"')], 412, "Bundle.entry[0]"),
    ("overlap", [entry("POST", "Patient", person("7"), P, ifNoneExist="identifier=urn:mrn|7"),
                 entry("POST", "Patient", person("7"), O, ifNoneExist="identifier=7")], 412, "Bundle.entry[1]"),
]  # fmt: skip


# Those where the Bundle itself is sound, and one entry is refused as it is done.
OF_AN_ENTRY = frozenset(
    ("wrong type", "nested", "unknown type", "reference finds nothing", "absent", "stale", "overlap")
)


@pytest.mark.parametrize(
    ("name", "entries", "status", "at"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_transaction_is_all_or_nothing(
    harness: Harness, name: str, entries: list[Resource], status: int, at: str | None
) -> None:
    """Every refusal names the entry, and nothing of the Bundle is stored."""
    answer = await send(harness, *entries)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["resourceType"] == "OperationOutcome"
        expressions = [issue.get("expression", [None])[0] for issue in answer.json()["issue"]]
        if at is not None:
            assert at in expressions
        assert await harness.versions() == 0
        *of_entry, whole = await harness.events()
        assert (whole.subtype, whole.outcome) == ("transaction", "4")
        assert [event.outcome for event in of_entry] == ["4"] * (name in OF_AN_ENTRY)


_ONE, _NEW = "identifier=urn:mrn|1", "identifier=urn:mrn|77"
OVERLAPS: list[tuple[list[Resource], int]] = [
    ([entry("DELETE", f"Patient?{_ONE}"), entry("POST", "Patient", person("2"), ifNoneExist=_NEW)], 200),  # control
    ([entry("PUT", f"Patient?{_NEW}", person("77")), entry("PUT", f"Patient?{_ONE}", person("1"))], 200),  # control
    ([entry("DELETE", "Patient/x"), entry("POST", "Patient", person("1"), P, ifNoneExist=_ONE),
      entry("POST", "Observation", observation(P))], 400),
    ([entry("POST", "Patient", person("1"), P, ifNoneExist=_ONE), entry("DELETE", f"Patient?{_ONE}")], 400),
    ([entry("DELETE", f"Patient?{_ONE}"), entry("PUT", "Patient/x", person(id="x"))], 400),
    ([entry("DELETE", f"Patient?{_ONE}"), entry("PUT", f"Patient?{_ONE}", person("1"))], 400),
    ([entry("DELETE", f"Patient?{_ONE}"), entry("DELETE", "Patient/x")], 400),
    ([entry("DELETE", f"Patient?{_ONE}"), entry("DELETE", "Patient?identifier=1")], 400),
    ([entry("PUT", f"Patient?{_NEW}", person("77")), entry("PUT", f"Patient?{_NEW}", person("77"))], 412),
    ([entry("PUT", f"Patient?{_NEW}", person("77")), entry("PUT", "Patient?identifier=77", person("77"))], 412),
    ([entry("PUT", f"Patient?{_NEW}", person("77")), entry("POST", "Patient", person("77"), ifNoneExist=_NEW)], 412),
    ([entry("POST", "Patient", person("77")),
      entry("PATCH", f"Patient?{_NEW}", {"resourceType": "Parameters"})], 404),
    ([entry("DELETE", "Organization/o"),
      entry("POST", "Patient", person("1"), ifNoneExist="organization.name=O")], 412),
    ([entry("DELETE", "Colour?name=red")], 404),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "status"), OVERLAPS)
async def test_identities_do_not_overlap(harness: Harness, entries: list[Resource], status: int) -> None:
    """http.html#trules: resolved identities too; a transaction where any overlap fails, and does nothing."""
    await harness.put({"resourceType": "Organization", "id": "o", "name": "O"})
    await harness.put(person("1", id="x", managingOrganization={"reference": "Organization/o"}))
    before = await harness.versions()
    answer = await send(harness, *entries)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[")
        assert await harness.versions() == before


async def test_a_conditional_delete_in_a_transaction_has_its_limit(harness: Harness) -> None:
    for _ in range(2):
        await harness.create(person("1"))
    answer = await send(harness, entry("DELETE", f"Patient?{_ONE}"))
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (412, "multiple-matches")
    assert await harness.versions() == 2


async def test_batch_answers_each_entry_for_itself(harness: Harness) -> None:
    made = await send(
        harness,
        entry("POST", "Patient", person("1")),
        entry("POST", "Patient", person(active="x")),
        entry("GET", "Patient/nobody"),
        entry("GET", "Patient?identifier=urn:mrn|1"),
        entry("GET", "metadata"),
        entry("GET", "Colour/1"),
        type_="batch",
    )
    assert made.status_code == 200
    assert statuses(made) == ["201", "422", "404", "200", "200", "404"]
    assert made.json()["type"] == "batch-response"
    outcome = made.json()["entry"][1]["response"]["outcome"]
    assert outcome["issue"][0]["expression"] == ["Patient.active"]
    assert made.json()["entry"][3]["resource"]["total"] == 1
    outcomes = [event.outcome for event in await harness.events()]
    assert sorted(outcomes) == ["0", "0", "0", "4", "4", "4"]


_UNSOUND_META = {"code": "ok", "bogus": {"q": 1}}


@pytest.mark.parametrize("type_", ["batch", "transaction"])
@pytest.mark.parametrize(
    ("url", "resource", "statuses_"),
    [
        ("Patient/a/$meta-add", {"resourceType": "Parameters", "parameter": [
            {"name": "meta", "valueMeta": {"tag": [{"code": "ok"}]}}]}, (200,)),  # the positive control
        ("Patient/a/$meta-add", {"resourceType": "Parameters", "parameter": [
            {"name": "meta", "valueMeta": {"tag": [_UNSOUND_META]}}]}, (422,)),
        ("Patient/a/$meta-add", {"resourceType": "Parameters", "parameter": [
            {"name": "meta", "valueMeta": "x"}]}, (422,)),
        ("Patient/a/$meta-add", {"resourceType": "Parameters", "parameter": 5}, (422,)),
        ("Patient/a/$meta-add", {"resourceType": "Patient"}, (400,)),
        ("Patient", "abc", (400, 422)),
        ("Patient", [1], (400, 422)),
        ("Patient", 5, (400, 422)),
        ("Patient/$validate", 5, (400, 422)),
    ],
)  # fmt: skip
async def test_bodies_of_entries_are_checked(
    harness: Harness, type_: str, url: str, resource: Any, statuses_: tuple[int, ...]
) -> None:
    """An entry is refused for what the same request alone is refused for."""
    await harness.put(person(id="a"))
    answer = await send(harness, {"request": {"method": "POST", "url": url}, "resource": resource}, type_=type_)
    one = int(statuses(answer)[0]) if answer.status_code == 200 else answer.status_code
    assert one in statuses_, answer.text
    if one != 200:
        assert await harness.versions() == 1


async def test_entries_have_the_callers_grants(clinic: Harness) -> None:
    """Every entry asks for its own grant: a batch tells each refusal, a transaction does nothing at all."""
    entries = (entry("GET", "Slot"), entry("GET", "Patient/anna"), entry("POST", "Patient", person()))
    before = await clinic.versions()
    apart = await send(clinic, *entries, type_="batch", caller="anonymous")
    whole = await send(clinic, *entries, caller="anonymous")
    assert statuses(apart) == ["200", "403", "403"]
    assert whole.status_code == 403
    assert await clinic.versions() == before


async def test_patch_and_prefer_in_a_transaction(harness: Harness) -> None:
    """A JSON Patch comes in a Binary; Prefer: return=representation brings resources into the answers."""
    await harness.put(person(id="a"))
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json",
             "data": "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2FjdGl2ZSIsInZhbHVlIjp0cnVlfV0="}  # fmt: skip
    made = await send(harness, entry("PATCH", "Patient/a", patch), headers={"Prefer": "return=representation"})
    assert statuses(made) == ["200"], made.text
    assert made.json()["entry"][0]["resource"]["active"] is True


def _binary(data: bytes, type_: str = "application/json-patch+json") -> Resource:
    return {"resourceType": "Binary", "contentType": type_, "data": base64.b64encode(data).decode()}


async def test_a_patch_that_is_none_is_refused_for_itself(harness: Harness) -> None:
    """In a batch the other entries are done; in a transaction the refusal names the entry."""
    await harness.put(person(id="a"))
    unsound: list[tuple[Any, str]] = [
        (_binary(b"{"), "400"),
        (_binary(b"<diff", "application/xml-patch+xml"), "400"),
        (_binary(b"[]", "image/png"), "415"),
        ({**_binary(b"[]"), "data": "?"}, "400"),
        (5, "400"),
    ]
    entries = [entry("PATCH", "Patient/a", patch) for patch, _ in unsound]
    made = await send(harness, entry("POST", "Patient", person()), *entries, type_="batch")
    assert made.status_code == 200, made.text
    assert statuses(made) == ["201", *(status for _, status in unsound)]
    versions = await harness.versions()
    for each, (_, status) in zip(entries, unsound, strict=True):
        refused = await send(harness, entry("POST", "Patient", person()), each)
        assert refused.status_code in (int(status), 422)  # 422: the Bundle is checked first
        assert refused.json()["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
    assert await harness.versions() == versions


async def test_links_in_a_fhirpath_patch_are_rewritten(harness: Harness) -> None:
    """http.html#trules: the Parameters of a patch are a resource of the Bundle like any other."""
    await harness.put(person(id="a"))
    await harness.put({"resourceType": "Practitioner", "id": "doc", "identifier": [{"value": "d"}]})
    values: Resource = {
        "managingOrganization": {"valueReference": {"reference": O}},
        "generalPractitioner": {"valueReference": {"reference": "Practitioner?identifier=d"}},
        "extension": {"part": [{"name": "url", "valueUri": "urn:link"}, {"name": "valueUri", "valueUri": O}]},
    }
    parts = [
        [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"},
         {"name": "name", "valueString": name}, {"name": "value", **value}] for name, value in values.items()
    ]  # fmt: skip
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part} for part in parts]}
    made = await send(
        harness,
        entry("POST", "Organization", {"resourceType": "Organization", "name": "O"}, O),
        entry("PATCH", "Patient/a", patch),
    )
    assert statuses(made) == ["201", "200"], made.text
    name = made.json()["entry"][0]["response"]["location"].split("/fhir/")[1].split("/_")[0]
    stored = await harness.stored("Patient/a")
    assert stored["managingOrganization"] == {"reference": name}
    assert stored["generalPractitioner"] == [{"reference": "Practitioner/doc"}]
    assert stored["extension"] == [{"url": "urn:link", "valueUri": name}]


@pytest.mark.parametrize(("body", "status"), [({"resourceType": "Bundle", "type": "batch"}, 200),
    ({"resourceType": "Bundle", "type": "transaction"}, 200), ({"resourceType": "Bundle", "type": "searchset"}, 400),
    ({"resourceType": "Patient"}, 400), ([], 400)])  # fmt: skip
async def test_body_is_a_bundle_to_be_done(harness: Harness, body: Any, status: int) -> None:
    assert (await harness.send("POST", "", "admin", json_=body)).status_code == status


async def test_thousand_entries(harness: Harness) -> None:
    made = await send(harness, *(entry("POST", "Patient", person(str(n))) for n in range(1_000)))
    assert made.status_code == 200
    assert len(made.json()["entry"]) == 1_000


def _history(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "history", "entry": list(entries)}


async def test_a_history_is_done_again_from_its_oldest_entry_on(harness: Harness) -> None:
    """Each entry by its request.method; the ids are those of the history."""
    await harness.create(person("1"))
    made = (await harness.create({"resourceType": "Patient", "active": True})).json()["id"]
    await harness.put({"resourceType": "Patient", "id": made, "active": False})
    await harness.delete(f"Patient/{made}")
    await harness.put({"resourceType": "Patient", "id": made, "gender": "male"})
    told = (await harness.get("_history", "admin")).json()
    assert len(told["entry"]) == 5
    answer = await harness.send("POST", "", "admin", json_=told, tenant="other")
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "transaction-response"
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "204", "200", "201", "201"]
    again = (await harness.get("_history", "admin", tenant="other")).json()
    assert [each["request"] for each in again["entry"]] == [each["request"] for each in told["entry"]]
    bodies = [[each.get("resource") for each in bundle["entry"]] for bundle in (told, again)]
    for one, other in zip(*bodies, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert {**one, "meta": 0} == {**other, "meta": 0}


async def test_a_history_is_done_whole_or_not_at_all(harness: Harness) -> None:
    """A POST of what is there is 409, a read no entry of a history, and nothing is left of either."""
    await harness.seed({"resourceType": "Patient", "id": "a"})
    versions = await harness.versions()
    post = {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient", "id": "a"}}
    new = {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient", "id": "b"}}
    for entries, status in (((post, new), 409), (({"request": {"method": "GET", "url": "Patient/a"}}, new), 400)):
        answer = await harness.send("POST", "", "admin", json_=_history(*entries))
        assert answer.status_code == status, answer.text
        assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[0]")
    assert await harness.versions() == versions
