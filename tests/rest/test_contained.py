"""`_contained` and `_containedType` (FHIR R4 search.html#contained): what is found, returned, counted, hidden."""

import random
from typing import Any

import pytest

from fhir_server.search.extract import Extractor
from fhir_server.search.matches import in_order, matches
from tests.harness import Harness, cared_for, ids, issue, patient, practitioner

Resource = dict[str, Any]
BASE = "http://fhir.test/demo/fhir"
PREDNISONE = {"coding": [{"system": "urn:drug", "code": "pred"}]}


def medication(id_: str, code: str, status: str = "active") -> Resource:
    coded = {"coding": [{"system": "urn:drug", "code": code}]}
    return {"resourceType": "Medication", "id": id_, "status": status, "code": coded}


def request(id_: str, *inner: Resource, about: str = "anna") -> Resource:
    made: Resource = {"resourceType": "MedicationRequest", "id": id_, "status": "active", "intent": "order"}
    made["subject"] = {"reference": f"Patient/{about}"}
    made["medicationReference"] = {"reference": f"#{inner[0]['id']}"} if inner else {"reference": "Medication/m"}
    return made | ({"contained": list(inner)} if inner else {})


def stay(id_: str, *inner: Resource, about: str = "anna") -> Resource:
    """A MedicationStatement with what it contains."""
    made: Resource = {"resourceType": "MedicationStatement", "id": id_, "status": "active"}
    made |= {"subject": {"reference": f"Patient/{about}"}, "medicationReference": {"reference": "Medication/m"}}
    return made | ({"contained": list(inner)} if inner else {})


def observation(id_: str, *inner: Resource, about: str = "anna") -> Resource:
    made: Resource = {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}}
    made |= {"subject": {"reference": f"Patient/{about}"}}
    return made | ({"contained": list(inner)} if inner else {})


# m is a resource of its own; a and c contain, b contains two that are alike but for their status.
WORLD = (
    patient("anna"),
    patient("ben"),
    medication("m", "pred"),
    medication("n", "asp"),
    request("a", medication("m1", "pred")),
    request("b", medication("m1", "pred", "inactive"), medication("m2", "pred"), about="ben"),
    stay("c", medication("x", "asp"), medication("y", "zinc", "inactive")),
    request("d"),
)

# (query, full URLs in order)
TABLE: tuple[tuple[str, str], ...] = (
    ("code=pred", "Medication/m"),
    ("code=pred&_contained=false&_containedType=contained", "Medication/m"),
    ("code=pred&_contained=true", "MedicationRequest/a MedicationRequest/b"),
    ("code=pred&_contained=true&_containedType=container", "MedicationRequest/a MedicationRequest/b"),
    (
        "code=pred&_contained=true&_containedType=contained",
        "MedicationRequest/a#m1 MedicationRequest/b#m1 MedicationRequest/b#m2",
    ),
    ("code=pred&_contained=both", "Medication/m MedicationRequest/a MedicationRequest/b"),
    ("code=asp&_contained=both", "Medication/n MedicationStatement/c"),
    ("code=asp&_contained=both&_containedType=contained", "Medication/n MedicationStatement/c#x"),
    ("code=pred&status=inactive&_contained=true", "MedicationRequest/b"),
    ("code=asp&status=inactive&_contained=true", ""),  # both in one contained resource, not in two of one container
    ("_id=m1&_contained=true&_containedType=contained", "MedicationRequest/a#m1 MedicationRequest/b#m1"),
    ("_id=a&_contained=true", ""),
    ("code:not=pred&_contained=true", "MedicationStatement/c"),
    ("_contained=true&_sort=-code", "MedicationStatement/c MedicationRequest/a MedicationRequest/b"),
    ("_contained=true&_sort=status,code", "MedicationStatement/c MedicationRequest/a MedicationRequest/b"),
    (
        "_contained=both&_containedType=contained&_sort=-code,-status",
        "MedicationStatement/c#y MedicationRequest/b#m1 Medication/m MedicationRequest/a#m1 MedicationRequest/b#m2 "
        "Medication/n MedicationStatement/c#x",
    ),
    ("_contained=true&_filter=code eq pred and status eq inactive", "MedicationRequest/b"),
    ("code=none&_contained=both", ""),
    ("_contained=true&_has:MedicationRequest:medication:status=active", ""),
)


@pytest.fixture
async def world(harness: Harness) -> Harness:
    await harness.seed(*WORLD)
    return harness


def urls(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", ())
    assert all(entry["search"]["mode"] == "match" for entry in entries)
    return [entry["fullUrl"].removeprefix(f"{BASE}/") for entry in entries]


async def pages(harness: Harness, path: str, caller: str = "admin") -> list[str]:
    """The full URLs of all pages."""
    found, next_ = list[str](), path
    while next_:
        answer = await harness.get(next_, caller)
        found += urls(answer)
        links = {link["relation"]: link["url"] for link in answer.json()["link"]}
        next_ = links.get("next", "").removeprefix(f"{BASE}/")
    return found


async def test_the_table(world: Harness) -> None:
    """In one page and in pages of one and two, with the total; what is contained never shows in other searches."""
    for query, expected in TABLE:
        wanted = expected.split()
        answer = await world.get(f"Medication?{query}", "admin")
        assert urls(answer) == wanted, query
        assert answer.json()["total"] == len(wanted), query
        for count in (1, 2):
            assert await pages(world, f"Medication?{query}&_count={count}") == wanted, (query, count)
            first = await world.get(f"Medication?{query}&_count={count}&_total=accurate", "admin")
            assert first.json()["total"] == len(wanted), (query, count)
        counted = await world.get(f"Medication?{query}&_summary=count", "admin")
        assert (counted.json()["total"], "entry" in counted.json()) == (len(wanted), False)


async def test_what_is_returned(world: Harness) -> None:
    contained = (await world.get("Medication?_id=y&_contained=true&_containedType=contained", "admin")).json()
    [entry] = contained["entry"]
    assert entry == {
        "fullUrl": f"{BASE}/MedicationStatement/c#y",
        "resource": medication("y", "zinc", "inactive"),
        "search": {"mode": "match"},
    }
    assert contained["link"][0]["url"].endswith("/Medication?_id=y&_contained=true&_containedType=contained")
    container = (await world.get("Medication?_id=y&_contained=true", "admin")).json()["entry"][0]["resource"]
    assert (container["id"], len(container["contained"])) == ("c", 2)
    some = await world.get("Medication?_id=y&_contained=true&_containedType=contained&_elements=status", "admin")
    assert set(some.json()["entry"][0]["resource"]) == {"resourceType", "id", "meta", "status"}
    posted = await world.send(
        "POST", "Medication/_search", "admin", content="_id=y&_contained=true",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert urls(posted) == ["MedicationStatement/c"]
    as_xml = await world.get("Medication?_id=y&_contained=true&_containedType=contained&_format=xml", "admin")
    assert b'<fullUrl value="http://fhir.test/demo/fhir/MedicationStatement/c#y"/>' in as_xml.content


async def test_writes_are_followed(world: Harness) -> None:
    """Update, patch, delete, and what becomes contained later; other clinics have none of it."""
    find = "Medication?code=pred&_contained=true&_containedType=contained"
    assert (await world.put(request("a", medication("m9", "pred")))).status_code == 200
    assert "MedicationRequest/a#m9" in urls(await world.get(find, "admin"))
    assert "MedicationRequest/a#m1" not in urls(await world.get(find, "admin"))
    change = [{"op": "replace", "path": "/contained/1/code/coding/0/code", "value": "asp"}]
    assert (await world.patch("MedicationRequest/b", change, "admin")).status_code == 200
    assert urls(await world.get(find, "admin")) == ["MedicationRequest/a#m9", "MedicationRequest/b#m1"]
    assert (await world.put(request("a"))).status_code == 200
    assert (await world.delete("MedicationRequest/b")).status_code == 204
    assert urls(await world.get(find, "admin")) == []
    assert (await world.put(request("d", medication("m", "pred")))).status_code == 200
    assert urls(await world.get(find, "admin")) == ["MedicationRequest/d#m"]
    for path in ("MedicationRequest/_history", "_history", "MedicationRequest", "?_type=Medication,MedicationRequest"):
        text = (await world.get(path, "admin")).text
        assert "MedicationRequest#Medication" not in text
    other = await world.get(find, "admin", tenant="other")
    assert (other.status_code, "entry" in other.json()) == (200, False)


async def test_a_container_that_matches_itself_is_listed_once(harness: Harness) -> None:
    """`both`: as the match that it is, wherever what it contains would stand."""
    inner = {"resourceType": "Observation", "id": "i", "status": "final", "code": {"text": "x"}}
    await harness.seed(
        patient("anna"),
        observation("b", inner | {"status": "amended"}),
        observation("a", inner),
        observation("c") | {"status": "amended"},
    )
    assert (await pages(harness, "Observation?status=final&_contained=true&_count=1")) == ["Observation/a"]
    both = "Observation?status=final,amended&_contained=both&_sort=-status"
    for count in (1, 2, 9):
        found = await pages(harness, f"{both}&_count={count}")
        assert found == ["Observation/b", "Observation/a", "Observation/c"]
        assert (await harness.get(f"{both}&_count={count}", "admin")).json()["total"] == 3


async def test_what_is_contained_is_there_as_its_container_is(clinic: Harness) -> None:
    """Row filters, hidden elements and missing grants: anna sees hers, dr-kim his patients', the public nothing."""
    kept = {"resourceType": "Observation", "id": "in", "status": "final", "code": {"text": "x"}}
    await clinic.seed(
        cared_for("anna", "dr-lee"),
        cared_for("ben", "dr-kim"),
        observation("oa", kept),
        observation("ob", kept, about="ben"),
        {"resourceType": "HealthcareService", "id": "h", "active": True, "name": "H",
         "contained": [practitioner("hidden")], "comment": "x"},
    )  # fmt: skip
    search = "Observation?status=final&_contained=true&_containedType=contained"
    expected = {
        "anna": ["Observation/oa#in"],
        "ben": ["Observation/ob#in"],
        "dr-lee": ["Observation/oa#in"],
        "dr-kim": ["Observation/ob#in"],
        "admin": ["Observation/oa#in", "Observation/ob#in"],
    }
    for caller, wanted in expected.items():
        answer = await clinic.get(search, caller)
        assert urls(answer) == wanted, caller
        assert answer.json()["total"] == len(wanted), caller
    for caller in ("anonymous", "website", "auditor"):
        refused = await clinic.get(search, caller)
        assert refused.status_code in (401, 403), caller
    # A public caller may search practitioners, and sees services without what they contain.
    for mode in ("true", "both"):
        public = await clinic.get(f"Practitioner?_contained={mode}&_id=hidden", "anonymous")
        assert urls(public) == []
        assert public.json()["total"] == 0
    assert urls(await clinic.get("Practitioner?_contained=true&_id=hidden", "admin")) == ["HealthcareService/h"]
    hidden = await clinic.get("Practitioner?_contained=true&gender=male", "anonymous")
    assert hidden.status_code == 403


async def test_it_is_audited_as_its_container(clinic: Harness) -> None:
    """R-6.5: whose record was looked at."""
    kept = {"resourceType": "Observation", "id": "in", "status": "final", "code": {"text": "x"}}
    await clinic.seed(cared_for("anna", "dr-lee"), observation("oa", kept))
    await clinic.get("Observation?_contained=true&_containedType=contained", "dr-lee")
    event = (await clinic.events())[-1]
    assert event.subtype == "search-type"
    assert "anna" in event.patients


async def test_refusals(world: Harness) -> None:
    for path in ("?_type=Medication&_contained=true", "Patient/anna/*?_contained=both"):
        answer = await world.get(path, "admin")
        assert (answer.status_code, issue(answer)["expression"]) == (400, ["_contained"]), path
    for method in ("PUT", "PATCH", "DELETE"):
        path = "Medication?code=pred&_contained=true"
        answer = await world.send(method, path, "admin", json_=medication("m", "pred") if method == "PUT" else [])
        assert answer.status_code == 400, method
    assert (await world.get("Medication/m", "admin")).json()["meta"]["versionId"] == "1"


async def test_in_a_compartment(world: Harness) -> None:
    inner = {"resourceType": "Observation", "id": "i", "status": "final", "code": {"text": "x"}}
    subject = {"subject": {"reference": "Patient/anna"}}
    await world.seed(observation("o", inner | subject, inner | {"id": "j"}, about="ben"))
    answer = await world.get("Patient/anna/Observation?_contained=true&_containedType=contained", "admin")
    assert urls(answer) == ["Observation/o#i"]


async def test_reindex_finds_what_was_stored_before(world: Harness) -> None:
    """What a former version of the server stored is found from `$reindex` on; of the type or of its containers."""

    async def forget(unit: Any) -> None:
        for each in WORLD:
            stored = await unit.read(each["resourceType"], each["id"])
            names = [
                (f"{each['resourceType']}#{inner['resourceType']}", f"{each['id']}#{n}")
                for n, inner in enumerate(each.get("contained", ()))
            ]
            await unit.contain(stored, (), names)

    await world.run(forget, write=True)
    assert urls(await world.get("Medication?_contained=true", "admin")) == []
    asked = {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "Medication"}]}
    assert (await world.send("POST", "$reindex", "admin", json_=asked)).status_code == 200
    assert urls(await world.get("Medication?_contained=true&code=pred", "admin")) == [
        "MedicationRequest/a", "MedicationRequest/b",
    ]  # fmt: skip
    assert len(urls(await world.get("Medication?_contained=true&_containedType=contained", "admin"))) == 5
    assert (await world.send("POST", "$reindex", "admin", json_=asked)).status_code == 200
    assert len(urls(await world.get("Medication?_contained=true&_containedType=contained", "admin"))) == 5


async def test_random_searches_find_what_the_interpreter_finds(harness: Harness) -> None:
    """Differential: random containers and queries against `search.matches` over what is contained, in its order."""
    seed = random.Random(7)
    clinic = await harness.parts.clinics.get("demo")
    extractor: Extractor = clinic.extractor
    containers: list[Resource] = []
    for n in range(24):
        inner = [
            medication(f"k{i}", seed.choice(("a", "b", "c")), seed.choice(("active", "inactive")))
            for i in range(seed.randrange(4))
        ]
        containers.append((request if seed.random() < 0.5 else stay)(f"r{n}", *inner))
    own = [medication(f"o{n}", seed.choice(("a", "b", "c")), seed.choice(("active", "inactive"))) for n in range(6)]
    everything = [patient("anna"), medication("m", "m"), *containers, *own]
    seed.shuffle(containers)
    await harness.seed(*everything)
    made = [each for each in everything if each["resourceType"] != "Patient"]
    for _ in range(40):
        criteria = seed.sample(("code=a", "code=b,c", "code:not=a", "status=active", "status:missing=true"), 2)
        sort = seed.choice(("", "code", "-code", "-status,code", "status,-code"))
        mode, kind = seed.choice(("true", "both")), seed.choice(("container", "contained"))
        query = "&".join((*criteria, f"_contained={mode}", f"_containedType={kind}", *([f"_sort={sort}"] * bool(sort))))
        asked = clinic.parser.parse("Medication", [tuple(p.split("=", 1)) for p in query.split("&")], 0)  # type: ignore[misc]
        hits: list[tuple[str, str, Any]] = []
        for each in made:
            name = f"{each['resourceType']}/{each['id']}"
            if each["resourceType"] == "Medication":
                hits += [(name, name, extractor.entries(each))] if mode == "both" else []
            else:
                hits += [(name, f"{name}#{i['id']}", extractor.entries(i)) for i in each.get("contained", ())]
        hits = [hit for hit in hits if matches(asked.where, hit[2])]
        ordered = [hits[place] for place in in_order([hit[2] for hit in hits], asked.sort)]
        expected = list(dict.fromkeys(hit[0] if kind == "container" else hit[1] for hit in ordered))
        assert await pages(harness, f"Medication?{query}&_count={seed.choice((1, 3, 50))}") == expected, query


async def test_one_hundred_containers_of_one_kind_are_counted(harness: Harness) -> None:
    """The total of containers is of containers, however many of what they contain match."""
    await harness.seed(patient("anna"))
    entries = [
        {"request": {"method": "PUT", "url": f"MedicationRequest/r{n}"},
         "resource": request(f"r{n}", *(medication(f"k{i}", "a") for i in range(7)))}
        for n in range(100)
    ]  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    made = await harness.send("POST", "", "admin", json_=bundle)
    assert made.status_code == 200, made.text
    answer = await harness.get("Medication?code=a&_contained=true&_count=10", "admin")
    assert (answer.json()["total"], len(ids(answer))) == (100, 10)
    each = await harness.get("Medication?code=a&_contained=true&_containedType=contained&_count=10", "admin")
    assert (each.json()["total"], len(ids(each))) == (700, 10)
