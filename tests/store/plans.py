"""Random index entries and random plans over every node kind, and what plain Python finds."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server.search import decimals
from fhir_server.search.matches import matches, sort_values
from fhir_server.search.plan import (
    All,
    Any_,
    Box,
    Chain,
    Entries,
    Has,
    Interval,
    Node,
    Not,
    Query,
    Sort,
    Target,
    Test,
    Text,
    Token,
    Uri,
)
from fhir_server.search.text import fold

TYPES = ("Patient", "Slot", "Observation")
DAY = 86_400_000_000
SINGLE = {"when"}  # parameters of which a resource has at most one entry

_TEXTS = ("", "a", "ab", "Äb", "abc", "b\u00df", "z", "\ue000x", "\U0001f600", "a b", "a(b", "\x01", "a\x01b", "\x02")
_URIS = ("http://x/a", "http://x/a/", "http://x/", "http://x/a/b", "http://x/ab", "http://x", "urn:a", "http://x/a|1")
_UNITS = ("", "u|kg", "|kg")
_NUMBERS = tuple(decimals.key(n) for n in (-20, -2, -1, 0, 1, 2, 15, 150))


def entries(rng: random.Random, type_: str, id_: str, ids: Sequence[tuple[str, str]]) -> Entries:
    """The entries of one resource."""
    few = lambda: range(rng.choice((0, 0, 1, 1, 2, 3)))  # noqa: E731
    found: dict[Any, list[tuple[Any, ...]]] = {"token": [("_id", id_, "")]}
    found["token"] += [("code", rng.choice("abc"), rng.choice(("", "s", "t"))) for _ in few()]
    found["token"] += [("status", rng.choice(("free", "busy")), "")]
    texts = [rng.choice(_TEXTS) + rng.choice(("", "x")) for _ in few()]
    found["string"] = [("name", fold(text), text) for text in texts]
    found["date"] = [("period", *_dates(rng)) for _ in few()]
    if rng.random() < 0.8:
        found["date"].append(("when", *_dates(rng)))
    found["number"] = [("rank", *_numbers(rng)) for _ in few()]
    for _ in few():
        # The number itself, and that of a unit, which may be another: sorts are by the former.
        units = ("", rng.choice(_UNITS[1:]))
        found.setdefault("quantity", []).extend(("size", unit, *_numbers(rng)) for unit in units)
    found["reference"] = [("link", *rng.choice(ids)) for _ in few()] + [("other", *rng.choice(ids)) for _ in few()]
    if rng.random() < 0.2:
        found["reference"].append(("link", "", "http://elsewhere/1"))
    found["uri"] = [("url", rng.choice(_URIS)) for _ in few()]
    return {shape: list(dict.fromkeys(rows)) for shape, rows in found.items() if rows}


def query(rng: random.Random, ids: Sequence[tuple[str, str]]) -> Query:
    """A query with any plan, sort, count and total."""
    sorts = [
        Sort(*rng.choice((("status", "token"), ("name", "string"), ("period", "date"), ("when", "date"),
             ("rank", "number"), ("size", "quantity"), ("link", "reference"), ("url", "uri"), ("_id", "token"))),
             rng.random() < 0.5)
        for _ in range(rng.choice((0, 1, 1, 2, 3)))
    ]  # fmt: skip
    total = rng.choice((None, -1, 3))
    return Query(rng.choice(TYPES), node(rng, 3, ids), tuple(sorts), rng.choice((1, 3, 20)), None, total)


def node(rng: random.Random, depth: int, ids: Sequence[tuple[str, str]]) -> Node:
    """Any node, at most so deep."""
    kind = rng.choice(("test", "test", "test", "all", "any", "not", "chain", "has")) if depth else "test"
    inner = lambda: node(rng, depth - 1, ids)  # noqa: E731
    match kind:
        case "all":
            return All(tuple(inner() for _ in range(rng.choice((0, 1, 2, 3)))))
        case "any":
            return Any_(tuple(inner() for _ in range(rng.choice((0, 1, 2, 3)))))
        case "not":
            return Not(inner())
        case "chain":
            return Chain(rng.choice(("link", "other")), rng.choice(TYPES), inner())
        case "has":
            return Has(rng.choice(TYPES), rng.choice(("link", "other")), inner())
    return _test(rng, ids)


def _test(rng: random.Random, ids: Sequence[tuple[str, str]]) -> Test:
    shape, param = rng.choice(
        (("token", "code"), ("token", "status"), ("token", "_id"), ("string", "name"), ("date", "period"),
         ("date", "when"), ("number", "rank"), ("quantity", "size"), ("reference", "link"), ("uri", "url"))
    )  # fmt: skip
    sought: Any = None
    if rng.random() < 0.93:
        sought = _sought(rng, shape, param, ids)
    return Test(param, shape, sought, param in SINGLE)


def _sought(rng: random.Random, shape: str, param: str, ids: Sequence[tuple[str, str]]) -> Any:
    target, id_ = rng.choice(ids)
    match shape:
        case "token" if param == "_id":
            return Token(id_, rng.choice((None, "")))
        case "token":
            code = rng.choice(("a", "b", "free", None))
            return Token(code, rng.choice(("", "s", None)) if code is not None else "s")
        case "string":
            how: Any = rng.choice(("starts", "contains", "exact"))
            text = rng.choice(_TEXTS)
            return Text(text if how == "exact" else fold(text), how)
        case "date":
            return Interval(_box(rng, _date(rng), _date(rng)))
        case "number":
            return Interval(_box(rng, rng.choice(_NUMBERS), rng.choice(_NUMBERS) + rng.choice(("", "!"))))
        case "quantity":
            box = _box(rng, rng.choice(_NUMBERS), rng.choice(_NUMBERS) + rng.choice(("", "!")))
            return Interval(box, rng.choice((*_UNITS, None)))
        case "reference":
            return rng.choice((Target(id_, target), Target(id_, None), Target("http://elsewhere/1", "")))
    how = rng.choice(("exact", "below", "above"))
    return Uri(rng.choice(_URIS), how)


def _box(rng: random.Random, one: Any, other: Any) -> Box:
    names = rng.sample(("lo_from", "lo_below", "hi_above", "hi_to"), rng.choice((1, 1, 2)))
    return Box(**dict(zip(names, (one, other), strict=False)))


def _date(rng: random.Random) -> int:
    return rng.randrange(-30, 1_500) * DAY


def _dates(rng: random.Random) -> tuple[int, int]:
    lo = _date(rng)
    return lo, lo + rng.choice((1, DAY, 20 * DAY, 31 * DAY, 200 * DAY, 366 * DAY, 3_000 * DAY))


def _numbers(rng: random.Random) -> tuple[str, str]:
    lo, hi = sorted(rng.sample(_NUMBERS, 2))
    return (lo, lo + "!") if rng.random() < 0.6 else (lo, hi)


class World:
    """All resources by their entries, in the order of creation."""

    def __init__(self, rng: random.Random, count: int) -> None:
        self.ids = [(type_, f"{type_[0].lower()}{n}") for n in range(count) for type_ in TYPES]
        self.entries = {(type_, id_): entries(rng, type_, id_, self.ids) for type_, id_ in self.ids}
        self.referrers_of: dict[tuple[str, str, str, str], list[Entries]] = {}
        for (source, _), found in self.entries.items():
            for param, type_, id_ in found.get("reference", ()):
                self.referrers_of.setdefault((type_, id_, source, param), []).append(found)

    def target(self, type_: str, id_: str) -> Entries | None:
        return self.entries.get((type_, id_))

    def referrers(self, type_: str, id_: str, source: str, param: str) -> Iterable[Entries]:
        return self.referrers_of.get((type_, id_, source, param), ())

    def search(self, asked: Query) -> list[str]:
        """All ids that match, in order."""
        found = [
            (id_, each)
            for (type_, id_), each in self.entries.items()
            if type_ == asked.type and matches(asked.where, each, type_=type_, around=self)
        ]
        for place in range(len(asked.sort) - 1, -1, -1):
            sort = asked.sort[place]
            valued = [(sort_values(each, (sort,))[0], id_, each) for id_, each in found]
            there = [row for row in valued if row[0] is not None]
            there.sort(key=lambda row: row[0], reverse=sort.descending)
            found = [(id_, each) for _, id_, each in there] + [(i, e) for v, i, e in valued if v is None]
        return [id_ for id_, _ in found]
