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
    found = found_at(value, pair.values)
    if not found:
        return
    tokens = entered(found_at(value, pair.tokens), param, out).token
    codes = dict.fromkeys(key for _, code, system in tokens if code for key in (code, f"{system}|{code}"))
    for shape, rows in entered(found, param, out).entries().items():
        held: Rows = getattr(out, shape)
        for code in codes:
            name = under(param, code)
            for row in rows:
                held[(name, *row[1:])] = None


def under(param: str, key: str) -> str:
    """The parameter under which what stands beside a code is filed."""
    return f"{param}${key}"


def found_at(value: dict[str, Any], ends: Ends) -> list[tuple[Convert, Any, Any]]:
    """The values of a component, each with its converter and note."""
    return [
        (converter, note, each)
        for path, converter, note in ends
        # Of a choice's properties an element has one at most.
        if not path.steps or path.steps[0] in value or path.steps[0].__class__ is not str
        for each in walk(path.steps, value)
    ]


def entered(found: list[tuple[Convert, Any, Any]], param: str, out: Collected) -> Collected:
    """The entries of what a component found, by themselves."""
    made = Collected(out.zone, out.base_url)
    for converter, note, each in found:
        converter(each, param, note, made)
    return made
