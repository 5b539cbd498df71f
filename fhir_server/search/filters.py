"""The grammar of `_filter`: text to a small tree (FHIR R4 search_filter.html).

`not` binds tighter than `and`, `and` than `or`. A filter within a path (`name[…].name`) is told apart and refused.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fhir_server.fhir.errors import BadRequest

OPERATORS = ("eq", "ne", "co", "sw", "gt", "lt", "ge", "le", "sa", "eb", "ap", "po", "pr", "in", "ni", "ss", "sb", "re")
_REFUSED = {"ew": "it would have to read every value"}
_DEEPEST = 20
_PART = re.compile(r"\s*(?:([()\[])|([A-Za-z_][\w\-.:]*)(?=\s|\(|\[|\)|$))")
_VALUE = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([^\s()\[\]"]+))(?=\s|\)|$)')


@dataclass(frozen=True, slots=True)
class Compared:
    """What is asked of the parameter at the end of a path: an operator and a value, which is plain text."""

    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """`path operator value`."""

    path: str
    compared: Compared


@dataclass(frozen=True, slots=True)
class Joined:
    """`and`, `or` or `not` over filters."""

    word: str
    filters: "tuple[Filter, ...]"


Filter = Leaf | Joined


def parse(name: str, text: str) -> Filter:
    """The filter of a text. Raises BadRequest that names the parameter and says where."""
    reader = _Reader(name, text)
    found = reader.any(0)
    reader.end()
    return found


def leaves(filter_: Filter) -> Iterator[Leaf]:
    """The comparisons in a filter."""
    if isinstance(filter_, Leaf):
        yield filter_
    else:
        for each in filter_.filters:
            yield from leaves(each)


class _Reader:
    def __init__(self, name: str, text: str) -> None:
        self._name, self._text, self._at = name, text, 0

    def any(self, depth: int) -> Filter:
        return self._joined("or", lambda: self._joined("and", lambda: self._one(depth)))

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise self._fault("it goes on after its end")

    def _joined(self, word: str, read: "Callable[[], Filter]") -> Filter:
        found = [read()]
        while self._peek()[1] == word:
            self._take()
            found.append(read())
        return found[0] if len(found) == 1 else Joined(word, tuple(found))

    def _one(self, depth: int) -> Filter:
        if depth > _DEEPEST:
            raise self._fault("it is nested too deep")
        bracket, word = self._peek()
        if word == "not" and self._text[self._place(word) :].lstrip()[:1] == "(":
            self._take()
            return Joined("not", (self._one(depth),))
        if bracket == "(":
            self._take()
            found = self.any(depth + 1)
            if self._peek()[0] != ")":
                raise self._fault("a bracket is not closed")
            self._take()
            return found
        if not word:
            raise self._fault("a path such as name or subject.name is missing")
        return self._leaf()

    def _leaf(self) -> Leaf:
        path = self._take()
        if self._peek()[0] == "[":
            raise BadRequest(
                f"'{self._name}' cannot have a filter within a path here; use a chain, as in subject.name.",
                expression=self._name,
                code="not-supported",
            )
        operator = self._take()
        if operator in _REFUSED:
            raise BadRequest(
                f"'{self._name}' cannot have the operator '{operator}' here: {_REFUSED[operator]}.",
                expression=self._name,
                code="not-supported",
            )
        if operator not in OPERATORS:
            raise self._fault(f"after '{path[:64]}' there must be one of {', '.join(OPERATORS)}")
        return Leaf(path, Compared(operator, self._value()))

    def _value(self) -> str:
        match = _VALUE.match(self._text, self._at)
        if match is None:
            raise self._fault("a value is missing: a word, or a text in double quotes")
        self._at = match.end()
        if match[2] is not None:
            return match[2]
        try:
            value: str = json.loads(match[1])
        except ValueError as error:
            raise self._fault("a text is no JSON string") from error
        return value

    def _peek(self) -> tuple[str, str]:
        """The bracket or word that comes next; both '' at the end."""
        match = _PART.match(self._text, self._at)
        return (match[1] or "", match[2] or "") if match else ("", "")

    def _place(self, word: str) -> int:
        """The place after a word that comes next."""
        return self._text.index(word, self._at) + len(word)

    def _take(self) -> str:
        match = _PART.match(self._text, self._at)
        if match is None:
            raise self._fault("it ends too soon")
        self._at = match.end()
        return match[1] or match[2]

    def _fault(self, why: str) -> BadRequest:
        return BadRequest(f"'{self._name}' is not understood at character {self._at}: {why}.", expression=self._name)
