"""Composite parameters: values that stand together in one element (FHIR R4 search.html#composite).

One component is a token. What the other finds is filed under a parameter of its own for each of that token's codes,
`{parameter}${code}` and `{parameter}${system}|{code}`, so that a composite is an ordinary condition in every store.
"""

from dataclasses import dataclass
from typing import Any

from fhir_server.search.collected import Collected, Convert, Rows
from fhir_server.search.paths import Path, walk

# A component's paths, each with its converter and note.
Ends = tuple[tuple[Path, Convert, Any], ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """The component that is a token, and the other; `token_first` as a client writes them."""

    tokens: Ends
    values: Ends
    value_type: str
    token_first: bool = True


def convert(value: dict[str, Any], param: str, pair: Pair, out: Collected) -> None:
    """The entries of one element that holds both components."""
    values = _collected(value, param, pair.values, out)
    if not any(rows for _, rows in values):
        return
    for _, code, system in dict(_collected(value, param, pair.tokens, out))["token"]:
        if not code:
            continue
        for key in (code, f"{system}|{code}"):
            for shape, rows in values:
                held: Rows = getattr(out, shape)
                for row in rows:
                    held[(under(param, key), *row[1:])] = None


def under(param: str, key: str) -> str:
    """The parameter under which what stands beside a code is filed."""
    return f"{param}${key}"


_SHAPES = ("token", "string", "date", "number", "quantity", "reference", "uri")


def _collected(value: dict[str, Any], param: str, ends: Ends, out: Collected) -> list[tuple[str, Rows]]:
    made = Collected(out.zone, out.base_url)
    for path, converter, note in ends:
        for found in walk(path.steps, value):
            converter(found, param, note, made)
    return [(shape, getattr(made, shape)) for shape in _SHAPES]
