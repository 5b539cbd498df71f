"""Optimised plans mean what they meant."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.matches import matches
from fhir_server.search.plan import NOTHING, All, Any_, Box, Interval, Node, Not, Test, Token, all_of
from fhir_server.search.plan_rules import intersection, optimise

bounds = st.one_of(st.none(), st.integers(0, 6))
boxes = st.builds(Box, bounds, bounds, bounds, bounds)
dates = st.builds(
    lambda param, box: Test(param, "date", Interval(box), single=param == "one"),
    st.sampled_from(["one", "many"]),
    boxes,
)
quantities = st.builds(
    lambda unit, box: Test("size", "quantity", Interval(box, unit), single=True), st.sampled_from(["", "kg"]), boxes
)
tokens = st.builds(lambda code: Test("code", "token", Token(code, None)), st.sampled_from("ab"))
nodes: st.SearchStrategy[Node] = st.recursive(
    st.one_of(dates, quantities, tokens),
    lambda inner: st.one_of(
        st.builds(lambda each: All(tuple(each)), st.lists(inner, max_size=4)),
        st.builds(lambda each: Any_(tuple(each)), st.lists(inner, max_size=4)),
        st.builds(Not, inner),
    ),
    max_leaves=12,
)
spans = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda span: (span[0], span[0] + span[1]))


@st.composite
def entries(draw: st.DrawFn) -> Any:
    dated = [("one", *draw(spans))] * draw(st.integers(0, 1)) + [
        ("many", *span) for span in draw(st.lists(spans, max_size=3))
    ]
    measured = [("size", unit, *draw(spans)) for unit in draw(st.sets(st.sampled_from(["", "kg"])))]
    return {
        "date": dated,
        "quantity": measured,
        "token": [("code", code, "") for code in draw(st.sets(st.sampled_from("ab")))],
    }


@given(nodes, entries())
def test_optimised_plans_match_alike(node: Node, found: Any) -> None:
    assert matches(optimise(node), found) == matches(node, found)


@given(boxes, boxes, spans)
def test_an_intersection_holds_what_both_hold(one: Box, other: Box, span: tuple[int, int]) -> None:
    both = intersection(one, other)
    assert (both is not None and both.holds(*span)) == (one.holds(*span) and other.holds(*span))


def test_many_values_are_not_joined() -> None:
    """Two tests of a repeating element may hold of two different values."""
    tests = [Test("many", "date", Interval(Box(lo_from=5))), Test("many", "date", Interval(Box(hi_to=3)))]
    assert optimise(all_of(*tests)) == All(tuple(tests))


def test_a_contradiction_is_nothing() -> None:
    tests = [
        Test("one", "date", Interval(Box(lo_from=5)), single=True),
        Test("one", "date", Interval(Box(hi_to=3)), single=True),
    ]
    assert optimise(all_of(*tests)) == NOTHING
