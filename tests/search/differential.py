"""Random index entries and random plans, asked of a store and of the plain interpreter.

Entries are put into the store directly, so that every shape, every length of interval and every gap comes up; plans
hold every kind of node. The plain interpreter (`matches`, `in_order`) is the oracle.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

from fhir_server.search import decimals
from fhir_server.search.dates import EARLIEST, LATEST
from fhir_server.search.matches import in_order, matches
from fhir_server.search.plan import (
    SHAPES,
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
    Shape,
    Sort,
    Target,
    Test,
    Text,
    Token,
    Uri,
)
from fhir_server.search.plan_rules import optimise
from fhir_server.store.protocol import Put, Unit

TYPES = ("Patient", "Slot", "Observation")
DAY = 86_400_000_000
_CODES, _SYSTEMS = ("a", "b", "c"), ("", "s", "t")
_WORDS = ("", "a", "ab", "abc", "b", "ba", "żź", "a\U0001f600", "z")
_URIS = ("u:x", "http://e", "http://e/", "http://e/a", "http://e/a/", "http://e/a/b", "http://e/ab", "http://e/a/b/c")
_NUMBERS = tuple(map(Decimal, ("-100", "-1.5", "-1", "0", "0.05", "0.5", "1", "1.5", "2", "10", "99.5", "1e9")))
_LENGTHS = (1, 1_000_000, 60_000_000, DAY, DAY + 1, 31 * DAY, 40 * DAY, 366 * DAY, 500 * DAY)
# Two parameters of each shape: one with at most one entry a resource, one with several.
PARAMS = {shape: (f"{shape}-one", f"{shape}-many") for shape in SHAPES}


def ids_of(type_: str, count: int) -> list[str]:
    return [f"{type_[0].lower()}{n}" for n in range(count)]


def random_entries(random: Random, type_: str, id_: str, counts: dict[str, int]) -> Entries:
    """Entries of one resource; about a third of the parameters are missing."""
    made: dict[Shape, list[tuple[Any, ...]]] = {shape: [] for shape in SHAPES}
    made["token"].append(("_id", id_, ""))
    for shape, (one, many) in PARAMS.items():
        for param, most in ((one, 1), (many, 4)):
            if random.random() < 0.65:
                for _ in range(random.randint(1, most)):
                    made[shape] += _values(random, shape, param, counts)
    return {shape: list(dict.fromkeys(found)) for shape, found in made.items() if found}


def _values(random: Random, shape: Shape, param: str, counts: dict[str, int]) -> list[tuple[Any, ...]]:
    match shape:
        case "token":
            return [(param, random.choice(_CODES), random.choice(_SYSTEMS))]
        case "string":
            word = random.choice(_WORDS)
            return [(param, word, random.choice((word, word.upper())))]
        case "date":
            return [(param, *_time(random))]
        case "number":
            return [(param, *_number(random))]
        case "quantity":
            # In another unit the number is another; sorts are by that without one.
            units = random.sample(("kg", "g", "s|kg"), random.randint(0, 2))
            return [(param, unit, *_number(random)) for unit in ("", *units)]
        case "reference":
            if random.random() < 0.2:
                return [(param, "", random.choice(("http://o/Patient/p1", "urn:uuid:1")))]
            type_ = random.choice(TYPES)
            return [(param, type_, random.choice(ids_of(type_, counts[type_] + 1)))]
        case "uri":
            return [(param, random.choice(_URIS))]


def _time(random: Random) -> tuple[int, int]:
    if random.random() < 0.15:
        lo, hi = random.randint(0, 10) * DAY, LATEST
        return (lo, hi) if random.random() < 0.5 else (EARLIEST, lo + 1)
    lo = random.randint(0, 10) * DAY + random.choice((0, 1, DAY // 2))
    return lo, lo + random.choice(_LENGTHS)


def _number(random: Random) -> tuple[str, str]:
    value = random.choice(_NUMBERS)
    if random.random() < 0.7:
        return decimals.exact(value)
    if random.random() < 0.3:
        return random.choice(((decimals.LEAST, decimals.exact(value)[1]), (decimals.key(value), decimals.GREATEST)))
    return decimals.key(value), decimals.key(value + random.choice((1, 5, 1000))) + random.choice(("", "!"))


def random_plan(random: Random, type_: str, counts: dict[str, int], depth: int = 3) -> Node:
    kind = random.choices(("test", "all", "any", "not", "chain", "has"), (8, 4, 3, 2, 2, 2))[0]
    if depth == 0:
        kind = "test"

    def inner(of: str = type_) -> Node:
        return random_plan(random, of, counts, depth - 1)

    match kind:
        case "all":
            return All(tuple(inner() for _ in range(random.randint(0, 3))))
        case "any":
            return Any_(tuple(inner() for _ in range(random.randint(0, 3))))
        case "not":
            return Not(inner())
        case "chain":
            target = random.choice(TYPES)
            return Chain(random.choice(PARAMS["reference"]), target, inner(target))
        case "has":
            source = random.choice(TYPES)
            return Has(source, random.choice(PARAMS["reference"]), inner(source))
    shape = random.choice(SHAPES)
    param = random.choice(PARAMS[shape])
    sought = None if random.random() < 0.1 else _sought(random, shape, counts)
    return Test(param, shape, sought, single=param.endswith("-one"))


def _sought(random: Random, shape: Shape, counts: dict[str, int]) -> Any:
    match shape:
        case "token":
            code = random.choice((*_CODES, None))
            system = random.choice((*_SYSTEMS, None) if code is not None else _SYSTEMS)
            return Token(code, system)
        case "string":
            word = random.choice(_WORDS)
            how: Any = random.choice(("starts", "contains", "whole", "exact"))
            return Text(word.upper() if how == "exact" and random.random() < 0.5 else word, how)
        case "reference":
            if random.random() < 0.2:
                return Target(random.choice(("http://o/Patient/p1", "urn:uuid:1", "urn:uuid:2")), "")
            type_ = random.choice(TYPES)
            return Target(random.choice(ids_of(type_, counts[type_])), random.choice((type_, type_, None)))
        case "uri":
            how_uri: Any = random.choice(("exact", "below", "above"))
            return Uri(random.choice(_URIS), how_uri)
        case "quantity":
            return Interval(_box(random, _number), random.choice(("", "kg", "g", "s|kg", "none")))
        case "number":
            return Interval(_box(random, _number))
        case _:
            return Interval(_box(random, _time))


def _box(random: Random, interval: Any) -> Box:
    bounds: list[Any] = [None, None, None, None]
    for place in random.sample(range(4), random.randint(1, 4)):
        bounds[place] = interval(random)[place > 1]
    return Box(*bounds)


def random_sort(random: Random) -> tuple[Sort, ...]:
    made = []
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        shape = random.choice(SHAPES)
        made.append(Sort(random.choice(PARAMS[shape]), shape, random.random() < 0.5))
    return tuple(made)


class World:
    """What is in the store, by type, in the order of creation."""

    def __init__(self, random: Random, counts: dict[str, int]) -> None:
        self.counts = counts
        self.entries = {
            (type_, id_): random_entries(random, type_, id_, counts)
            for type_ in TYPES
            for id_ in ids_of(type_, counts[type_])
        }

    async def fill(self, unit: Unit) -> None:
        for n, ((type_, id_), entries) in enumerate(self.entries.items()):
            await unit.put(Put(type_, id_, 0, n, b"{}", entries, "PUT"))

    # fhir_server.search.matches.Around
    def target(self, type_: str, id_: str) -> Entries | None:
        return self.entries.get((type_, id_))

    def referrers(self, type_: str, id_: str, source: str, param: str) -> Iterable[Entries]:
        for (other, _), entries in self.entries.items():
            if other == source and (param, type_, id_) in entries.get("reference", ()):
                yield entries

    def expected(self, type_: str, plan: Node, sort: tuple[Sort, ...]) -> list[str]:
        """The ids that match, in order, by the plain interpreter."""
        found = [
            (id_, entries)
            for (other, id_), entries in self.entries.items()
            if other == type_ and matches(plan, entries, type_=type_, around=self)
        ]
        return [found[place][0] for place in in_order([entries for _, entries in found], sort)]

    async def compare(self, unit: Unit, random: Random) -> str:
        """One random question to the store and to the oracle; what is wrong, or ''."""
        type_ = random.choice(TYPES)
        plan, sort = random_plan(random, type_, self.counts), random_sort(random)
        count, limit = random.choice((1, 2, 5, 100)), random.choice((None, -1, 0, 3))
        wanted = self.expected(type_, plan, sort)
        query = Query(type_, optimise(plan), sort, count, None, limit)
        found: list[str] = []
        while True:
            page = await unit.search(query)
            found += [stored.id for stored in page.matches]
            if fault := _total_fault(page.total, page.total_is_exact, limit, len(wanted)):
                return f"{fault}: {query}"
            if page.next is None or len(found) > len(wanted):
                break
            query = Query(type_, query.where, sort, count, tuple(json.loads(json.dumps(page.next))), limit)
        only_total = await unit.search(Query(type_, query.where, sort, 0, None, -1))
        if (only_total.total, list(only_total.matches)) != (len(wanted), []):
            return f"total {only_total.total}, not {len(wanted)}: {query}"
        return "" if found == wanted else f"{found} and not {wanted}: {plan} {sort} {count}"


def _total_fault(total: int | None, exact: bool, limit: int | None, wanted: int) -> str:
    if limit is None:
        return "" if total is None else "a total that nobody asked for"
    expected = (wanted, True) if limit < 0 or wanted <= limit else (limit, False)
    return "" if (total, exact) == expected else f"total {total} {exact}, not {expected}"


async def differences(unit: Unit, world: World, random: Random, questions: int) -> list[str]:
    """What is wrong with the answers to so many random questions."""
    found = [await world.compare(unit, random) for _ in range(questions)]
    return [fault for fault in found if fault]
