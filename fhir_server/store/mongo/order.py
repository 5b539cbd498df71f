"""Where a sort walks: the names of its texts in `w`, and what the query asks of the sort's own parameter."""

from collections.abc import Iterable

from fhir_server.search.plan import All, Any_, Box, Interval, Node, Query, Sort, Test
from fhir_server.store.mongo.documents import place_name, shape_param
from fhir_server.store.params import param_number, spans


def own_condition(sort: Sort, where: Node) -> Node | None:
    """The condition on the sort's own parameter that bounds a walk, where a resource has but one entry of it."""
    for condition in where.nodes if isinstance(where, All) else (where,):
        if sort.shape == "date" and boxes_of(sort, condition):
            return condition
    return None


def boxes_of(sort: Sort, condition: Node | None) -> list[Box]:
    """The boxes of which the condition asks one, if it asks nothing else; none if it does."""
    tests = condition.nodes if isinstance(condition, Any_) else (condition,)
    boxes: list[Box] = []
    for test in tests:
        match test:
            case Test(param, shape, Interval(box), True) if (param, shape) == (sort.param, sort.shape):
                boxes.append(box)
            case _:
                return []
    return boxes


def name(tenant: str, query: Query, sort: Sort, span: int) -> str:
    """The name in `w` of the texts that a sort walks."""
    param = shape_param(sort.shape, param_number(query.type, sort.param))
    return place_name(tenant, param, descending=sort.descending, span=span)


def names(tenant: str, query: Query, sort: Sort) -> list[str]:
    """The names in `w` of all texts of a sort, of which a resource has at most one."""
    return [name(tenant, query, sort, span) for span in spans_of(sort)]


def is_brief(sort: Sort, query: Query) -> bool:
    """Whether the query says that the sort's parameter has instants only."""
    condition = own_condition(sort, query.where)
    tests = condition.nodes if isinstance(condition, Any_) else (condition,)
    return all(isinstance(each, Test) and isinstance(each.sought, Interval) and each.sought.brief for each in tests)


def spans_of(sort: Sort, *, brief: bool = False) -> Iterable[int]:
    """The classes of length that have texts apart."""
    return spans("date", brief=brief) if sort.shape == "date" else (0,)
