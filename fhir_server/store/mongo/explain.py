"""How a search would run: the commands that it sends, and the indexes that the server chooses for them."""

from dataclasses import dataclass, field
from typing import Any

from fhir_server.search.plan import Query
from fhir_server.store.mongo import search
from fhir_server.store.mongo.fields import Fields
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.route import Estimates
from fhir_server.store.mongo.schema import Database, Document


@dataclass(frozen=True, slots=True)
class Step:
    """One command, the stages of its winning plan from the last to the first, the indexes they read, how many
    documents it returns, and how many index keys and documents it looks at for them.
    """

    command: Document
    stages: tuple[str, ...]
    indexes: tuple[str, ...]
    rows: int = 0
    examined: int = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """The steps of one search, in turn."""

    steps: tuple[Step, ...]


async def explain(database: Database, tenant: str, fields: Fields, query: Query) -> Explained:
    """Run the search, and have each of its commands explained."""
    seen: list[Document] = []
    await search.run(Noting(database, None, tenant, Estimates(), fields, seen), query)
    return Explained(tuple([await step(database, command) for command in seen]))


@dataclass(frozen=True, slots=True)
class Noting(Reading):
    """Reads that note their commands."""

    seen: list[Document] = field(default_factory=list)

    def find(self, type_: str, condition: Document, fields: Document | None = None, **options: Any) -> Any:
        """As Reading has it, noted."""
        where = self.where(type_, condition, options.get("after", 0))
        noted = {"find": "resource", "filter": where, "limit": options.get("limit", 0)}
        if options.get("sort"):
            noted["sort"] = dict(options["sort"])
        if options.get("hint"):
            noted["hint"] = options["hint"]
        self.seen.append(noted)
        # Not super(): a dataclass with slots is made anew, and would not find itself.
        return Reading.find(self, type_, condition, fields, **options)

    async def aggregate(self, pipeline: Any, hint: str | None = None) -> list[Document]:
        """As Reading has it, noted."""
        given = {"hint": hint} if hint else {}
        self.seen.append({"aggregate": "resource", "pipeline": pipeline, "cursor": {}} | given)
        return await Reading.aggregate(self, pipeline, hint)


async def step(database: Database, command: Document) -> Step:
    """A command as the server explains it."""
    explained = await database.command("explain", command, verbosity="executionStats")
    stages, indexes = list[str](), list[str]()
    for plan in _winning(explained):
        _walk(plan, stages, indexes)
    stats = _statistics(explained)
    examined = sum(each["totalKeysExamined"] + each["totalDocsExamined"] for each in stats)
    rows = sum(each["nReturned"] for each in stats)
    return Step(command, tuple(stages), tuple(dict.fromkeys(indexes)), rows, examined)


def _statistics(explained: Any) -> list[Document]:
    """What the execution looked at, wherever it stands in an answer."""
    if isinstance(explained, list):
        return [found for each in explained for found in _statistics(each)]
    if not isinstance(explained, dict):
        return []
    if "totalKeysExamined" in explained and "nReturned" in explained:
        return [explained]
    return [found for each in explained.values() for found in _statistics(each)]


def _winning(explained: Any) -> list[Document]:
    """The winning plans in an answer, wherever a server of this shape and version has put them."""
    if isinstance(explained, list):
        return [plan for each in explained for plan in _winning(each)]
    if not isinstance(explained, dict):
        return []
    if "winningPlan" in explained:
        plan = explained["winningPlan"]
        return [plan.get("queryPlan", plan)]
    return [plan for each in explained.values() for plan in _winning(each)]


def _walk(plan: Document, stages: list[str], indexes: list[str]) -> None:
    stages.append(plan.get("stage", ""))
    if "indexName" in plan:
        indexes.append(plan["indexName"])
    for inner in (plan.get("inputStage"), *plan.get("inputStages", ()), *_of_shards(plan)):
        if inner is not None:
            _walk(inner, stages, indexes)


def _of_shards(plan: Document) -> list[Document]:
    return [each["winningPlan"] for each in plan.get("shards", ()) if "winningPlan" in each]
