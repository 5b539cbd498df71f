"""Any query is either understood or refused with 400, and what is understood can be interpreted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.errors import BadRequest
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import matches
from fhir_server.search.parameters import Registry
from fhir_server.search.parse import Parser
from fhir_server.search.plan import Entries
from profiles.definitions import load
from tests.search.cases import NOW, RESOURCES

REGISTRY = Registry(load())
PARSER = Parser(REGISTRY)
EXTRACTOR = Extractor(REGISTRY)
TYPES = ("Observation", "Patient", "RiskAssessment", "Appointment", "Questionnaire")
ENTRIES = {type_: [EXTRACTOR.entries(r) for r in RESOURCES if r["resourceType"] == type_] for type_ in TYPES}

names = st.builds(
    lambda link, code, modifier: link + code + modifier,
    st.sampled_from(["", "", "patient.", "subject:Patient.", "_has:Observation:patient:", "_has:x:"]),
    st.sampled_from(
        ["_id", "date", "code", "name", "value-quantity", "probability", "url", "patient", "subject", "near", "",
         "_sort", "_count", "_include", "_revinclude", "_elements",
         "_has:Appointment:patient:_id", "birthdate", "identifier"]
    ),
    st.sampled_from(
        ["", "", "", ":missing", ":exact", ":not", ":below", ":Patient", ":of-type", ":", ":a:b", ".", ".x"]
    ),
)  # fmt: skip
values = st.one_of(
    st.text(alphabet="0123456789-+.eEgtlsapTZ:|,$\\/", max_size=24),
    st.text(max_size=10),
    st.from_regex(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?\d{4}(-\d\d){0,2}(T\d\d:\d\d(Z|\+\d\d:\d\d)?)?", fullmatch=True),
    st.from_regex(r"(ne|gt|ap)?-?\d{1,4}(\.\d{1,4})?([eE]-?\d{1,6})?(\|[a-z:]*\|[a-z]*)?", fullmatch=True),
)


class Nothing:
    def target(self, type_: str, id_: str) -> Entries | None:
        return None

    def referrers(self, type_: str, id_: str, source: str, param: str) -> list[Entries]:
        return []


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(TYPES), st.lists(st.tuples(names, values), max_size=3), st.booleans())
def test_any_query_is_understood_or_refused(type_: str, query: list[tuple[str, str]], lenient: bool) -> None:
    try:
        request = PARSER.parse(type_, query, NOW, lenient=lenient)
    except BadRequest:
        return
    for entries in ENTRIES[type_]:
        matches(request.where, entries, type_=type_, around=Nothing())
