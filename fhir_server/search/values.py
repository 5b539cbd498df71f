"""How a FHIR value becomes index entries, by the parameter's type and the value's own (FHIR R4 search.html#ptypes).

Decisions that the text leaves open:

    code         carries the system of its required binding, where that says it: `gender=male` and
                 `gender=http://hl7.org/fhir/administrative-gender|male` find, `gender=|male` does not
    concept      without any coding, or a code left out, is entered with the code '', so that `:missing` is right
    identifier   with a type is entered once more as `{parameter}:of-type`, code `{type code}|{value}`
    reference    its `identifier` is a token, a canonical's URL a uri, both under the same parameter; references to
                 contained resources have no entry
    canonical    is entered with and without `|version`
    Timing       is entered as its outline, from the first event or bound to the last
    any          that makes no entry (a reference to a contained resource or with a display alone, a Timing without
                 events) is told of by a token under `{parameter}:present`, for `:missing`
    quantity     is entered for any unit, `system|code` (of UCUM the canonical unit, `system|=unit`), `|code` and
                 `|unit`; with a comparator as an open interval
"""

from decimal import Decimal
from typing import Any

from fhir_server.search import coded, near, pointers, spans
from fhir_server.search.collected import Collected, Convert
from fhir_server.search.plan import Shape

_URIS = ("uri", "url", "oid", "uuid")
_STRINGS = ("string", "markdown", "id", "code", *_URIS)
_INTEGERS = ("integer", "positiveInt", "unsignedInt")
_QUANTITIES = ("Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration", "MoneyQuantity")

_TABLE: dict[str, dict[str, Convert]] = {
    "token": {
        **dict.fromkeys((*_STRINGS, *_INTEGERS, "canonical"), coded.plain_token),
        "code": coded.code,
        "boolean": coded.boolean,
        "Coding": coded.coding,
        "CodeableConcept": coded.concept,
        "Identifier": coded.identifier,
        "ContactPoint": coded.contact_point,
    },
    "string": {
        **dict.fromkeys((*_STRINGS, "canonical"), coded.string),
        "HumanName": coded.parts("text", "family", "given", "prefix", "suffix"),
        "Address": coded.parts("text", "line", "city", "district", "state", "postalCode", "country"),
        "CodeableConcept": coded.concept_text,
    },
    "date": {
        **dict.fromkeys(("date", "dateTime", "instant"), spans.date),
        "Period": spans.period,
        "Timing": spans.timing,
    },
    "number": {**dict.fromkeys((*_INTEGERS, "decimal"), spans.number), "Range": spans.number_range},
    "quantity": {**dict.fromkeys(_QUANTITIES, spans.quantity), "Range": spans.quantity_range, "Money": spans.money},
    "reference": {
        "Reference": pointers.reference,
        "canonical": pointers.canonical,
        "Resource": pointers.inlined,
        **dict.fromkeys(_URIS, pointers.uri),
    },
    "uri": {**dict.fromkeys(_URIS, pointers.uri), "canonical": pointers.canonical},
    "special": {"BackboneElement": near.convert},
}

# Types of which one value may make several entries of one shape (and, for a quantity, of one unit).
_SEVERAL = frozenset({"CodeableConcept", "HumanName", "Address", "canonical", "Extension", ""})
# Types of which a value may make no entry.
_SPARSE = frozenset(
    {"Reference", "Resource", "canonical", "Period", "Timing", "Range", "Money", "Extension", "", *_QUANTITIES}
)
_SPARSE_TEXTS = frozenset({"HumanName", "Address", "CodeableConcept"})


def converter(parameter_type: str, fhir_type: str) -> Convert | None:
    """How a value of `fhir_type` is entered for a parameter of `parameter_type`; None: not at all.

    An extension is entered by its value; of the type '' is what is known only when it is seen.
    """
    table = _TABLE.get(parameter_type, {})
    if table and fhir_type == "Extension":
        return _extension(table)
    if table and fhir_type == "":
        return _guessed(table)
    return table.get(fhir_type)


def is_always_entered(parameter_type: str, fhir_type: str) -> bool:
    """Whether every value of the type makes an entry."""
    return fhir_type not in _SPARSE and (parameter_type != "string" or fhir_type not in _SPARSE_TEXTS)


def is_entered_once(fhir_type: str) -> bool:
    """Whether a value of the type makes at most one entry of a shape."""
    return fhir_type not in _SEVERAL


def shapes(parameter_type: str, fhir_type: str) -> tuple[Shape, ...]:
    """The shapes of the entries that `converter` makes, the main one first."""
    match parameter_type, fhir_type:
        case "reference", "Reference" | "Extension" | "":
            return ("reference", "token")
        case "reference", "Resource":
            return ("reference",)
        case "reference", _:
            return ("uri",)
        case ("token" | "string" | "date" | "number" | "quantity" | "uri") as shape, _:
            return (shape,)
        case "special", _:
            return ("number",)
    return ()


def _extension(table: dict[str, Convert]) -> Convert:
    by_property = {"value" + name[0].upper() + name[1:]: convert for name, convert in table.items()}

    def convert(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
        for name, held in value.items():
            if name in by_property:
                by_property[name](held, param, None, out)

    return convert


def _guessed(table: dict[str, Convert]) -> Convert:
    def convert(value: Any, param: str, _: Any, out: Collected) -> None:
        known = table.get(_guess(value))
        if known:
            known(value, param, None, out)

    return convert


_TELLING = (
    ("coding", "CodeableConcept"),
    ("resourceType", "Resource"),
    ("reference", "Reference"),
    ("start", "Period"),
    ("end", "Period"),
    ("low", "Range"),
    ("high", "Range"),
    ("family", "HumanName"),
    ("given", "HumanName"),
    ("city", "Address"),
    ("line", "Address"),
    ("currency", "Money"),
    ("code", "Coding"),
    ("text", "CodeableConcept"),
)


def _guess(value: Any) -> str:
    """The type that a value's JSON form suggests."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "dateTime" if value[:4].isdigit() and value[4:5] in ("-", "") else "string"
    if not isinstance(value, dict):
        return "decimal" if isinstance(value, Decimal) else "integer"
    if "value" in value:
        if isinstance(value["value"], str):
            return "ContactPoint" if "use" in value and "type" not in value else "Identifier"
        return "Money" if "currency" in value else "Quantity"
    return next((name for prop, name in _TELLING if prop in value), "")
