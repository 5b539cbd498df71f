"""Index entries under construction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from fhir_server.search.plan import Entries, Shape

# One shape's entries: a dict for its order and for dropping duplicates.
Rows = dict[tuple[Any, ...], None]


@dataclass(slots=True)
class Collected:
    """Entries under construction, and what their values are read by."""

    zone: tzinfo = UTC
    base_url: str = ""
    texts: bool = False
    # Id -> type of the resources within the one that is entered.
    contained: Mapping[str, str] = field(default_factory=dict)
    # Parameters with a value that makes no entry, such as a reference that has a display alone.
    unentered: dict[str, None] = field(default_factory=dict)
    token: Rows = field(default_factory=dict)
    string: Rows = field(default_factory=dict)
    date: Rows = field(default_factory=dict)
    number: Rows = field(default_factory=dict)
    quantity: Rows = field(default_factory=dict)
    reference: Rows = field(default_factory=dict)
    uri: Rows = field(default_factory=dict)

    def entries(self) -> Entries:
        """What was collected, shape by shape, without empty shapes."""
        shapes: dict[Shape, Rows] = {
            "token": self.token,
            "string": self.string,
            "date": self.date,
            "number": self.number,
            "quantity": self.quantity,
            "reference": self.reference,
            "uri": self.uri,
        }
        return {shape: list(rows) for shape, rows in shapes.items() if rows}


def presence(param: str) -> str:
    """The parameter under which a token says that there is a value, whether or not it makes an entry itself."""
    return f"{param}:present"


# (value, parameter code, note, where to). The note is what the value's path says: for a code the system of each code
# of its binding, for a reference the type that it must point at, for a composite its components.
Convert = Callable[[Any, str, Any, Collected], None]
