"""What the CapabilityStatement claims of US Core 6.1.0: elements that are kept, and the searches that it asks for.

Resources have every element that the profile says must be supported.
"""

from typing import Any
from urllib.parse import urlencode

import pytest

from fhir_server.search.parse import pairs
from tests.harness import FORM, Harness, ids

Resource = dict[str, Any]
CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
ADDRESS = {"line": ["1 Main St"], "city": "Boston", "state": "MA", "postalCode": "02118", "country": "US"}
TELECOM = [{"system": "phone", "value": "+1 555 0100", "use": "work"}]
OMB = "urn:oid:2.16.840.1.113883.6.238"
NPI = "http://hl7.org/fhir/sid/us-npi"


def concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def _category(name: str, code: str) -> Resource:
    coding = {"system": OMB, "code": code, "display": code}
    parts = [{"url": "ombCategory", "valueCoding": coding}, {"url": "text", "valueString": code}]
    return {"url": f"{CORE}/us-core-{name}", "extension": parts}


RESOURCES: tuple[Resource, ...] = (
    {"resourceType": "Organization", "id": "org", "active": True, "name": "Harbour Clinic", "alias": ["Hafen"],
     "identifier": [{"system": NPI, "value": "1245319599"}], "telecom": TELECOM, "address": [ADDRESS]},
    {"resourceType": "Practitioner", "id": "dr", "identifier": [{"system": NPI, "value": "1245319599"}],
     "name": [{"family": "Bone", "given": ["Ronald"]}], "telecom": TELECOM, "address": [ADDRESS]},
    {"resourceType": "Location", "id": "loc", "status": "active", "name": "Room 1", "alias": ["Zimmer"],
     "telecom": TELECOM, "address": ADDRESS, "managingOrganization": {"reference": "Organization/org"}},
    {"resourceType": "Endpoint", "id": "end", "status": "active", "connectionType": {"code": "hl7-fhir-rest"},
     "payloadType": [{"text": "any"}], "address": "https://example.org/fhir"},
    {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "Practitioner/dr"},
     "organization": {"reference": "Organization/org"}, "code": [concept("http://nucc.org/provider-taxonomy", "1")],
     "specialty": [concept("http://nucc.org/provider-taxonomy", "208D00000X")],
     "location": [{"reference": "Location/loc"}], "telecom": TELECOM, "endpoint": [{"reference": "Endpoint/end"}]},
    {"resourceType": "Patient", "id": "pat",
     "extension": [_category("race", "2106-3"), _category("ethnicity", "2135-2"),
                   {"url": f"{CORE}/us-core-sex", "valueCode": "248152002"},
                   {"url": f"{CORE}/us-core-tribal-affiliation", "extension": [
                       {"url": "tribalAffiliation", "valueCodeableConcept": concept("urn:tribes", "170")}]}],
     "identifier": [{"system": "urn:mrn", "value": "1032702"}],
     "name": [{"use": "old", "family": "Shaw", "given": ["Amy"], "suffix": ["PharmD"], "period": {"end": "2020-07-22"}},
              {"family": "Baxter", "given": ["Amy", "V."]}],
     "telecom": TELECOM, "gender": "female", "birthDate": "1987-02-20", "deceasedDateTime": "2024-01-02",
     "address": [{**ADDRESS, "use": "old", "period": {"end": "2020-07-22"}}],
     "communication": [{"language": concept("urn:ietf:bcp:47", "en")}]},
    {"resourceType": "RelatedPerson", "id": "rel", "active": True, "patient": {"reference": "Patient/pat"},
     "relationship": [concept("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "MTH")],
     "name": [{"family": "Baxter", "given": ["Eve"]}], "telecom": TELECOM, "address": [ADDRESS]},
    {"resourceType": "Provenance", "id": "prov-2", "target": [{"reference": "RelatedPerson/rel"}],
     "recorded": "2023-02-28T15:26:23.217Z", "agent": [{"who": {"reference": "Practitioner/dr"}}]},
    {"resourceType": "Provenance", "id": "prov", "target": [{"reference": "Patient/pat"}],
     "recorded": "2023-02-28T15:26:23.217Z",
     "agent": [{"type": concept("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "author"),
                "who": {"reference": "Practitioner/dr"}, "onBehalfOf": {"reference": "Organization/org"}}]},
)  # fmt: skip
PROFILED = list(dict.fromkeys(each["resourceType"] for each in RESOURCES if each["resourceType"] != "Endpoint"))

# (type, query that finds, the same query that does not)
SEARCHES: tuple[tuple[str, str, str], ...] = (
    ("Patient", "_id=pat", "_id=x"),
    ("Patient", "identifier=urn:mrn|1032702", "identifier=urn:mrn|1"),
    ("Patient", "identifier=1032702", "identifier=1"),
    ("Patient", "name=bax", "name=axter"),
    ("Patient", "birthdate=1987-02-20&name=amy", "birthdate=1987-02-21&name=amy"),
    ("Patient", "gender=female&name=amy", "gender=male&name=amy"),
    ("Patient", "birthdate=ge1987&family=baxter", "birthdate=gt1987&family=baxter"),
    ("Patient", "family=shaw&gender=female", "family=shaw&gender=male"),
    ("Patient", "death-date=2024-01-02&family=baxter", "death-date=2024-01-03&family=baxter"),
    ("Patient", "given=amy", "given=eve"),
    ("Practitioner", "name=bone", "name=x"),
    ("Practitioner", f"identifier={NPI}|1245319599", f"identifier={NPI}|1"),
    ("Practitioner", "_id=dr", "_id=x"),
    ("PractitionerRole", "specialty=http://nucc.org/provider-taxonomy|208D00000X", "specialty=urn:x|208D00000X"),
    ("PractitionerRole", "practitioner=Practitioner/dr", "practitioner=Practitioner/x"),
    ("PractitionerRole", "practitioner.identifier=1245319599", "practitioner.identifier=1"),
    ("PractitionerRole", "practitioner.name=bone", "practitioner.name=x"),
    ("Location", "name=room", "name=x"),
    ("Location", "name=zimmer", "name=immer"),
    ("Location", "address=boston", "address=x"),
    ("Location", "address-city=boston&address-state=MA&address-postalcode=02118", "address-city=x"),
    ("Organization", "name=harbour", "name=x"),
    ("Organization", "name=hafen", "name=afen"),
    ("Organization", "address=02118", "address=x"),
    ("RelatedPerson", "_id=rel", "_id=x"),
    ("RelatedPerson", "patient=Patient/pat&name=eve", "patient=Patient/pat&name=x"),
    ("Provenance", "target=Patient/pat,RelatedPerson/rel", "target=Patient/x"),
)  # fmt: skip


@pytest.fixture
async def core(harness: Harness) -> Harness:
    await harness.seed(*RESOURCES)
    return harness


async def test_every_element_is_kept(core: Harness) -> None:
    for each in RESOURCES:
        read = await core.stored(f"{each['resourceType']}/{each['id']}")
        assert {**read, "meta": 0} == {**each, "meta": 0}


@pytest.mark.parametrize(("type_", "finds", "misses"), SEARCHES)
async def test_every_search_by_get_and_post(core: Harness, type_: str, finds: str, misses: str) -> None:
    expected = [each["id"] for each in RESOURCES if each["resourceType"] == type_]
    for query, wanted in ((finds, expected), (misses, [])):
        assert ids(await core.get(f"{type_}?{query}", "admin")) == wanted
        form = urlencode(pairs(query))
        posted = await core.send("POST", f"{type_}/_search", "admin", content=form, headers={"Content-Type": FORM})
        assert ids(posted) == wanted


@pytest.mark.parametrize(
    ("query", "included"),
    [
        ("Patient?_revinclude=Provenance:target", ["prov"]),
        ("RelatedPerson?_revinclude=Provenance:target", ["prov-2"]),
        ("PractitionerRole?_include=PractitionerRole:practitioner", ["dr"]),
        ("PractitionerRole?_include=PractitionerRole:endpoint", ["end"]),
    ],
)
async def test_includes(core: Harness, query: str, included: list[str]) -> None:
    assert ids(await core.get(query, "admin"), "include") == included


async def test_the_statement_claims_the_profiles(core: Harness) -> None:
    """And each parameter, combination, include and interaction that they ask for; nothing of other types."""
    whole = (await core.get("metadata")).json()
    assert whole["instantiates"] == ["http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server|6.1.0"]
    statement = whole["rest"][0]
    found = {each["type"]: each for each in statement["resource"]}
    claimed = {type_ for type_, each in found.items() if "supportedProfile" in each}
    assert claimed == set(PROFILED)
    for type_ in PROFILED:
        assert found[type_]["supportedProfile"] == [f"{CORE}/us-core-{type_.lower()}|6.1.0"]
        codes = {each["code"] for each in found[type_]["interaction"]}
        assert {"read", "vread", "history-instance", "search-type"} <= codes
    for type_, query, _ in SEARCHES:
        named = {name.partition(".")[0] for name, _ in pairs(query)}
        assert named <= {each["name"] for each in found[type_]["searchParam"]}
    tested = {(type_, frozenset(name for name, _ in pairs(query))) for type_, query, _ in SEARCHES}
    combinations = {
        (type_, frozenset(part["valueString"] for part in each["extension"]))
        for type_ in found
        for each in found[type_].get("extension", ())
    }
    assert len(combinations) == 6
    assert combinations <= tested
    assert "Provenance:target" in found["RelatedPerson"]["searchRevInclude"]
    assert "Provenance:target" in found["Patient"]["searchRevInclude"]
    assert "PractitionerRole:practitioner" in found["PractitionerRole"]["searchInclude"]
