"""The tables of `cases`, through the plain-Python interpreter (FHIR R4 search.html)."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

import pytest

from fhir_server.fhir.errors import BadRequest
from fhir_server.search.dates import interval
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import NothingAround, in_order, matches
from fhir_server.search.parameters import Registry
from fhir_server.search.parse import Parser, SearchRequest, pairs
from fhir_server.search.plan import EVERYTHING, Box, Chain, Entries, Interval, Sort, Test, any_of
from fhir_server.search.plan_rules import natural_order
from profiles.definitions import load
from tests.search.cases import BASE_URL, CASES, NOW, ORDERED, REFUSED, RESOURCES, ZONE, Case

REGISTRY = Registry(load())
PARSER = Parser(REGISTRY, zone=ZoneInfo(ZONE), base_url=BASE_URL, texts=True)


class World:
    """The resources of `cases` by their entries."""

    def __init__(self) -> None:
        extractor = Extractor(REGISTRY, zone=ZoneInfo(ZONE), base_url=BASE_URL, texts=True)
        self.entries = {(each["resourceType"], each["id"]): extractor.entries(each) for each in RESOURCES}

    def target(self, type_: str, id_: str) -> Entries | None:
        return self.entries.get((type_, id_))

    def referrers(self, type_: str, id_: str, source: str, param: str) -> Iterable[Entries]:
        for (other, _), entries in self.entries.items():
            if other == source and (param, type_, id_) in entries.get("reference", ()):
                yield entries

    def search(self, request: SearchRequest) -> list[str]:
        """The ids of the matches, in order."""
        found = [
            (id_, entries)
            for (type_, id_), entries in self.entries.items()
            if type_ == request.type and matches(request.where, entries, type_=type_, around=self)
        ]
        return [found[place][0] for place in in_order([entries for _, entries in found], request.sort)]


WORLD = World()


def parse(type_: str, query: str, *, lenient: bool = False) -> SearchRequest:
    return PARSER.parse(type_, pairs(query), NOW, lenient=lenient)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}?{case.query}")
def test_query_finds(case: Case) -> None:
    assert sorted(WORLD.search(parse(case.type, case.query))) == sorted(case.expected)


@pytest.mark.parametrize("case", ORDERED, ids=lambda case: f"{case.type}?{case.query}")
def test_query_finds_in_order(case: Case) -> None:
    assert WORLD.search(parse(case.type, case.query)) == case.expected


@pytest.mark.parametrize(("type_", "query"), REFUSED, ids=lambda text: text)
def test_query_is_refused(type_: str, query: str) -> None:
    """A parameter, modifier or value that is not understood is refused, and the issue names the parameter."""
    with pytest.raises(BadRequest) as caught:
        parse(type_, query)
    [issue] = caught.value.issues
    assert issue.expression == query.partition("=")[0]
    assert issue.diagnostics.endswith((".", "…"))


def test_unknown_parameter_names_known_ones() -> None:
    with pytest.raises(BadRequest, match=r"Slot has no search parameter 'stat'. It has .*status"):
        parse("Slot", "stat=free")


def test_lenient_handling_drops_unknown_parameters_and_says_so() -> None:
    """FHIR R4 search.html#lenient: what was dropped is reported, and is not in the self link."""
    request = parse("Slot", "colour=red&status=free&_sort=colour", lenient=True)
    assert request.applied == (("status", "free"),)
    assert [(issue.severity, issue.expression) for issue in request.dropped] == [
        ("warning", "colour"),
        ("warning", "_sort"),
    ]


def test_lenient_handling_still_refuses_bad_values_and_modifiers() -> None:
    for query in ("start=never", "status:colour=free"):
        with pytest.raises(BadRequest):
            parse("Slot", query, lenient=True)


def test_applied_states_what_was_obeyed() -> None:
    """Empty values are left out, a count is capped, `_format` is another's matter."""
    request = parse("Slot", "status=free&start=&_count=999999&_format=json&_include=Slot:schedule&_summary=true")
    assert request.applied == (
        ("status", "free"),
        ("_count", "1000"),
        ("_include", "Slot:schedule"),
        ("_summary", "true"),
    )
    assert request.count == 1000


def test_empty_value_of_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse("Slot", "colour=")


def test_results_parameters_are_read() -> None:
    request = parse(
        "Appointment",
        "_include=Appointment:patient:Patient&_include:iterate=Patient:general-practitioner&_revinclude=Provenance:target"
        "&_total=accurate&_elements=status,start&_count=0",
    )
    assert [(i.source, i.param, i.target, i.iterate) for i in request.includes] == [
        ("Appointment", "patient", "Patient", False),
        ("Patient", "general-practitioner", None, True),
    ]
    assert [(i.source, i.param) for i in request.revincludes] == [("Provenance", "target")]
    assert (request.total, request.elements, request.count) == ("accurate", ("status", "start"), 0)
    assert request.where == EVERYTHING


def test_depth_is_limited() -> None:
    with pytest.raises(BadRequest) as caught:
        parse("Observation", "patient." + "link:Patient." * 6 + "name=x")
    assert caught.value.issues[0].code == "too-costly"


def test_a_chain_that_leads_to_too_many_types_asks_for_one() -> None:
    with pytest.raises(BadRequest, match="name one"):
        parse("Provenance", "target.name=x")


def test_range_of_an_instant_becomes_one_box() -> None:
    """`ge` and `lt` on Slot.start are joined, so that a store looks at one stretch of its index."""
    where = parse("Slot", "start=ge2026-01-01T00:00:00Z&start=lt2026-01-02T00:00:00Z").where
    lo, day = 1_767_225_600_000_000, 86_400_000_000

    assert where == Test("start", "date", Interval(Box(lo_from=lo, lo_below=lo + day), brief=True), single=True)
    assert natural_order(where) == (Sort("start", "date"),)


def test_range_of_a_single_date_becomes_two_boxes() -> None:
    """A birth date may be a year, which is longer than the day that is sought."""
    where = parse("Patient", "birthdate=ge2026-01-01&birthdate=lt2026-02-01").where
    (from_, to), (below, _) = (interval(text, ZoneInfo(ZONE)) for text in ("2026-01-01", "2026-02-01"))

    def test(box: Box) -> Test:
        return Test("birthdate", "date", Interval(box), single=True)

    assert where == any_of(test(Box(hi_above=to, lo_below=below)), test(Box(lo_from=from_, lo_below=below, hi_to=to)))
    assert natural_order(where) == ()


def test_references_are_not_followed_blindly() -> None:
    with pytest.raises(NothingAround):
        matches(Chain("patient", "Patient", EVERYTHING), {})
