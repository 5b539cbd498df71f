"""The grammar of SearchParameter expressions: text to a small tree (FHIRPath N1, the part that R4 uses).

Paths, `|`, `as`, `is`, `=`, `!=`, `and`, `or`, calls, `[0]`, literals, `%resource`. `paths` gives a tree its meaning.
"""

import re
from dataclasses import dataclass


class UnsupportedExpression(Exception):
    """An expression outside the part of FHIRPath that is compiled."""


@dataclass(frozen=True, slots=True)
class Name:
    """A type or an element of the context."""

    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number or boolean."""

    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Member:
    """An element of what the base finds."""

    base: "Tree"
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """The item at a place."""

    base: "Tree"
    place: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function, on the context when there is no base."""

    base: "Tree | None"
    name: str
    arguments: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Typed:
    """`base as type` or `base is type`."""

    base: "Tree"
    operator: str
    type: str


@dataclass(frozen=True, slots=True)
class Binary:
    """`|`, `=`, `!=`, `and`, `or`."""

    operator: str
    left: "Tree"
    right: "Tree"


Tree = Name | Literal | Member | Index | Call | Typed | Binary

_TOKEN = re.compile(r"\s*(?:(%?[A-Za-z_]\w*|`[^`]+`)|('(?:[^'\\]|\\.)*')|(\d+)|(!=|[.()\[\],|=]))")
# Loosest first (FHIRPath N1 §6.10).
_LEVELS = (("or",), ("and",), ("=", "!="), ("|",))


def parse(text: str) -> Tree:
    """The tree of an expression. Raises UnsupportedExpression."""
    reader = _Reader(text)
    tree = reader.binary(0)
    reader.expect("")
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def binary(self, level: int) -> Tree:
        if level == len(_LEVELS):
            return self.typed()
        tree = self.binary(level + 1)
        while self._next in _LEVELS[level]:
            operator = self._take()
            tree = Binary(operator, tree, self.binary(level + 1))
        return tree

    def typed(self) -> Tree:
        tree = self.path()
        while self._next in ("as", "is"):
            operator = self._take()
            tree = Typed(tree, operator, self._take_name())
        return tree

    def path(self) -> Tree:
        tree = self.term()
        while self._next in (".", "["):
            if self._take() == "[":
                place = self._take()
                if not place.isdigit():
                    raise self._error()
                tree = Index(tree, int(place))
                self.expect("]")
            else:
                name = self._take_name()
                tree = Call(tree, name, self.arguments()) if self._next == "(" else Member(tree, name)
        return tree

    def term(self) -> Tree:
        upcoming = self._next
        if upcoming == "(":
            self._take()
            tree = self.binary(0)
            self.expect(")")
            return tree
        if upcoming.startswith("'"):
            return Literal(re.sub(r"\\(.)", r"\1", self._take()[1:-1]))
        if upcoming.isdigit():
            return Literal(int(self._take()))
        if upcoming in ("true", "false"):
            return Literal(self._take() == "true")
        name = self._take_name()
        return Call(None, name, self.arguments()) if self._next == "(" else Name(name)

    def arguments(self) -> tuple[Tree, ...]:
        self.expect("(")
        found: list[Tree] = []
        while self._next != ")":
            if found:
                self.expect(",")
            found.append(self.binary(0))
        self.expect(")")
        return tuple(found)

    def expect(self, token: str) -> None:
        if self._next != token:
            raise self._error()
        self._at += 1

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._at += 1
        return token

    def _take_name(self) -> str:
        token = self._take()
        if not re.match(r"[%`A-Za-z_]", token):
            raise self._error()
        return token.strip("`")

    def _error(self) -> UnsupportedExpression:
        return UnsupportedExpression(f"not understood at part {self._at}: {self._text}")


def _tokens(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnsupportedExpression(f"not understood at character {at}: {text}")
        found.append(match.group().strip())
        at = match.end()
    return found
