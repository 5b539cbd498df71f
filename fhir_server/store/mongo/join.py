"""Chains and `_has`: looked up first, as lists of ids up to a bound.

Past the bound the search runs without them and asks them again of each batch of what it finds: `holding` looks up
only what the batch points at, or what points at the batch. So no list grows with the data, and none is left out.
"""

from collections.abc import AsyncIterator, Sequence

from fhir_server.search.plan import All, Any_, Chain, Has, Node, Not, Target, Test, all_of
from fhir_server.store.mongo.compile import compile_, conjunction, entry
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.route import Condition
from fhir_server.store.mongo.schema import Document
from fhir_server.store.params import param_number

# Looked up whole to this many ids; a list of this length costs a filter some tens of milliseconds.
MOST_IDS = 2_000
BATCH = 100

_Ids = dict[tuple[str, Node], list[str] | None]


async def conditions_of(reading: Reading, type_: str, node: Node) -> tuple[list[Condition], bool]:
    """The conditions that must all hold, each with its filter, and whether they are exact."""
    found: _Ids = {}
    await _look_up(reading, type_, node, None, found)
    nodes = node.nodes if isinstance(node, All) else (node,)
    conditions = [Condition(each, compile_(type_, each, found)) for each in nodes]
    return [each for each in conditions if each.filter], None not in found.values()


async def filter_of(reading: Reading, type_: str, node: Node) -> tuple[Document, bool]:
    """A filter for the node, and whether it is exact; if not it lets more through."""
    found: _Ids = {}
    await _look_up(reading, type_, node, None, found)
    return compile_(type_, node, found), None not in found.values()


async def holding(reading: Reading, type_: str, node: Node, ids: Sequence[str]) -> set[str]:
    """Those of the ids for which the node holds."""
    found: _Ids = {}
    await _look_up(reading, type_, node, ids, found)
    where = conjunction(({"id": {"$in": list(ids)}}, compile_(type_, node, found)))
    return {document["id"] async for document in reading.find(type_, where, {"id": 1})}


async def passing(
    reading: Reading, type_: str, node: Node, documents: AsyncIterator[Document]
) -> AsyncIterator[Document]:
    """Those of the documents, in their order, for which the node holds."""
    batch: list[Document] = []
    async for document in documents:
        batch.append(document)
        if len(batch) == BATCH:
            for each in await _kept(reading, type_, node, batch):
                yield each
            batch = []
    for each in await _kept(reading, type_, node, batch):
        yield each


async def _kept(reading: Reading, type_: str, node: Node, batch: list[Document]) -> list[Document]:
    kept = await holding(reading, type_, node, [document["id"] for document in batch]) if batch else set()
    return [document for document in batch if document["id"] in kept]


async def _look_up(reading: Reading, type_: str, node: Node, among: Sequence[str] | None, found: _Ids) -> None:
    """Fill in `found` for the chains and `_has` of a node; with `among`, whole as far as these ids need it."""
    match node:
        case All(nodes) | Any_(nodes):
            for each in nodes:
                await _look_up(reading, type_, each, among, found)
        case Not(inner):
            await _look_up(reading, type_, inner, among, found)
        case Chain():
            found[type_, node] = await _targets(reading, type_, node, among)
        case Has():
            found[type_, node] = await _pointed_at(reading, type_, node, among)
        case Test():
            pass


async def _targets(reading: Reading, type_: str, chain: Chain, among: Sequence[str] | None) -> list[str] | None:
    """The ids of the chain's targets for which its node holds."""
    if among is not None:
        aims = await _aims(reading, type_, chain, among)
        return sorted(await holding(reading, chain.type, chain.node, aims)) if aims else []
    where, exact = await filter_of(reading, chain.type, chain.node)
    if not exact:
        return None
    ids = [document["id"] async for document in reading.find(chain.type, where, {"id": 1}, limit=MOST_IDS + 1)]
    return ids if len(ids) <= MOST_IDS else None


async def _aims(reading: Reading, type_: str, chain: Chain, among: Sequence[str]) -> list[str]:
    """What the resources point at by the chain's reference."""
    param = param_number(type_, chain.param)
    aims: dict[str, None] = {}
    async for document in reading.find(type_, {"id": {"$in": list(among)}}, {"reference": 1}):
        for row in document.get("reference", ()):
            if row["p"] == param and row["y"] == chain.type:
                aims[row["i"]] = None
    return list(aims)


async def _pointed_at(reading: Reading, type_: str, has: Has, among: Sequence[str] | None) -> list[str] | None:
    """The ids of what is pointed at by some resource for which the node holds."""
    if among is not None:
        return [id_ for id_ in among if await _is_pointed_at(reading, type_, has, id_)]
    where, exact = await filter_of(reading, has.type, has.node)
    if not exact:
        return None
    param = param_number(has.type, has.param)
    pointing = conjunction((entry("reference", {"p": param, "y": type_}), where))
    ids: dict[str, None] = {}
    read = 0
    async for document in reading.find(has.type, pointing, {"reference": 1}, limit=MOST_IDS + 1):
        read += 1
        ids |= {row["i"]: None for row in document["reference"] if row["p"] == param and row["y"] == type_}
    return list(ids) if read <= MOST_IDS else None


async def _is_pointed_at(reading: Reading, type_: str, has: Has, id_: str) -> bool:
    node = all_of(Test(has.param, "reference", Target(id_, type_)), has.node)
    where, exact = await filter_of(reading, has.type, node)
    sources = reading.find(has.type, where, {"id": 1}, limit=1 if exact else 0)
    async for _ in sources if exact else passing(reading, has.type, node, sources):
        return True
    return False
