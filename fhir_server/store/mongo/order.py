"""Where a sort walks: the names of its texts in `w`, and what the query asks of the sort's own parameter."""

from collections.abc import Iterable

from fhir_server.search.plan import All, Interval, Node, Query, Sort, Test
from fhir_server.store.mongo.documents import place_name, shape_param
from fhir_server.store.params import param_number, spans


def own_test(sort: Sort, where: Node) -> Test | None:
    """The condition on the sort's own parameter that bounds a walk, where a resource has but one entry of it."""
    for condition in where.nodes if isinstance(where, All) else (where,):
        match condition:
            case Test(param, "date", Interval(), True) if (param, "date") == (sort.param, sort.shape):
                return condition
    return None


def bounds_of(sort: Sort, where: Node) -> Interval | None:
    """What the query asks of the sort's own parameter."""
    own = own_test(sort, where)
    return own.sought if own is not None and isinstance(own.sought, Interval) else None


def name(tenant: str, query: Query, sort: Sort, span: int) -> str:
    """The name in `w` of the texts that a sort walks."""
    param = shape_param(sort.shape, param_number(query.type, sort.param))
    return place_name(tenant, param, descending=sort.descending, span=span)


def names(tenant: str, query: Query, sort: Sort) -> list[str]:
    """The names in `w` of all texts of a sort, of which a resource has at most one."""
    return [name(tenant, query, sort, span) for span in spans_of(sort)]


def spans_of(sort: Sort) -> Iterable[int]:
    """The classes of length that have texts apart."""
    return spans("date") if sort.shape == "date" else (0,)
