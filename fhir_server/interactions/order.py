"""One order over what several searches found: creation keys order resources of all types alike."""

from collections.abc import Sequence

from fhir_server.fhir import json
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import sort_values
from fhir_server.search.plan import Position, Sort
from fhir_server.store.protocol import Stored


def place(extractor: Extractor, stored: Stored, sorts: Sequence[Sort]) -> Position:
    """Where a match stands: its sort values, then its creation key."""
    if not sorts:
        return (stored.key,)
    assert stored.body is not None
    return (*sort_values(extractor.entries(json.parse(stored.body)), sorts), stored.key)
