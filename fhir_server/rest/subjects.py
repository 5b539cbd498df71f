"""Whom a search asks for: the patients that its criteria name (IHE BALP, PatientQuery).

What is found tells whose data were seen. A search that finds nothing, only counts or is refused is about somebody too,
and so is a condition in the place of an id.
"""

import re
from functools import lru_cache
from urllib.parse import parse_qsl

from fhir_server.fhir.reference import is_id
from fhir_server.rest.table import Found

# More are not named, and longer criteria not read to their end: anybody may send some.
MOST = 100
_LONGEST = 100_000
# Longer ones are not remembered.
_SHORT = 500
_BY_CRITERIA = frozenset(
    ("search-type", "search-system", "search-compartment", "update", "patch", "delete")  # those three by a condition
)
# Parameters whose plain ids are patients', those of chains and of `_has` included.
_OF_PATIENTS = re.compile(r"(?:.*[.:])?(?:patient|subject)(?::Patient)?(?:\._id)?|.+:Patient(?:\._id)?")


def asked(found: Found, tenant: str, criteria: str) -> tuple[str, ...]:
    """The ids of these patients, for a request's row and its criteria, as they were sent."""
    if found.interaction.name not in _BY_CRITERIA or (found.id and not found.other):
        return ()
    name = _known if len(criteria) <= _SHORT else _named
    named = name(found.other or found.type, tenant, criteria[:_LONGEST])
    return tuple(dict.fromkeys((found.id, *named))) if found.other and found.type == "Patient" else named


def _named(type_: str, tenant: str, criteria: str) -> tuple[str, ...]:
    named: dict[str, None] = {}
    for name, value in parse_qsl(criteria):
        is_plain = _OF_PATIENTS.fullmatch(name) is not None or (name == "_id" and type_ == "Patient")
        for each in value.split(","):
            reference = each.rpartition(f"/{tenant}/fhir/")[2]
            id_ = reference.removeprefix("Patient/")
            if (is_plain or reference != id_) and is_id(id_):
                named[id_] = None
            if len(named) == MOST:
                return tuple(named)
    return tuple(named)


_known = lru_cache(maxsize=1_024)(_named)  # callers ask the same again and again
