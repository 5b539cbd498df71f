"""JSON Patch: every operation, its errors, and the examples of RFC 6902 appendix A."""

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhir.errors import BadRequest, FhirError, Unprocessable
from fhir_server.fhir.json_patch import apply, check


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


APPENDIX_A: tuple[tuple[str, Any, list[dict[str, Any]], Any], ...] = (
    ("A.1", {"foo": "bar"}, [op("add", "/baz", value="qux")], {"baz": "qux", "foo": "bar"}),
    ("A.2", {"foo": ["bar", "baz"]}, [op("add", "/foo/1", value="qux")], {"foo": ["bar", "qux", "baz"]}),
    ("A.3", {"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
    ("A.4", {"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
    ("A.5", {"baz": "qux", "foo": "bar"}, [op("replace", "/baz", value="boo")], {"baz": "boo", "foo": "bar"}),
    ("A.6", {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
     [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
     {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
    ("A.7", {"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
     {"foo": ["all", "cows", "eat", "grass"]}),
    ("A.8", {"baz": "qux", "foo": ["a", 2, "c"]}, [op("test", "/baz", value="qux"), op("test", "/foo/1", value=2)],
     {"baz": "qux", "foo": ["a", 2, "c"]}),
    ("A.9", {"baz": "qux"}, [op("test", "/baz", value="bar")], Unprocessable),
    ("A.10", {"foo": "bar"}, [op("add", "/child", value={"grandchild": {}})],
     {"foo": "bar", "child": {"grandchild": {}}}),
    ("A.11", {"foo": "bar"}, [op("add", "/baz", value="qux", xyz=123)], {"foo": "bar", "baz": "qux"}),
    ("A.12", {"foo": "bar"}, [op("add", "/baz/bat", value="qux")], Unprocessable),
    ("A.14", {"/": 9, "~1": 10}, [op("test", "/~01", value=10)], {"/": 9, "~1": 10}),
    ("A.15", {"/": 9, "~1": 10}, [op("test", "/~01", value="10")], Unprocessable),
    ("A.16", {"foo": ["bar"]}, [op("add", "/foo/-", value=["abc", "def"])], {"foo": ["bar", ["abc", "def"]]}),
)  # fmt: skip

OTHERS: tuple[tuple[str, Any, list[dict[str, Any]], Any], ...] = (
    ("replace the root", {"a": 1}, [op("replace", "", value={"b": 2})], {"b": 2}),
    ("add at the root", {"a": 1}, [op("add", "", value=[1])], [1]),
    ("test the root", {"a": [1]}, [op("test", "", value={"a": [1]})], {"a": [1]}),
    ("add replaces", {"a": 1}, [op("add", "/a", value=2)], {"a": 2}),
    ("add at the end", {"a": [1]}, [op("add", "/a/1", value=2)], {"a": [1, 2]}),
    ("add past the end", {"a": [1]}, [op("add", "/a/2", value=2)], Unprocessable),
    ("add to a scalar", {"a": 1}, [op("add", "/a/b", value=2)], Unprocessable),
    ("leading zero", {"a": [1, 2]}, [op("remove", "/a/01")], Unprocessable),
    ("minus", {"a": [1, 2]}, [op("remove", "/a/-1")], Unprocessable),
    ("dash", {"a": [1, 2]}, [op("remove", "/a/-")], Unprocessable),
    ("not ASCII", {"a": [1, 2]}, [op("remove", "/a/¹")], Unprocessable),
    ("a huge place", {"a": [1, 2]}, [op("remove", "/a/" + "9" * 5_000)], Unprocessable),
    ("empty key", {"": 1}, [op("replace", "/", value=2)], {"": 2}),
    ("remove absent", {}, [op("remove", "/a")], Unprocessable),
    ("replace absent", {}, [op("replace", "/a", value=1)], Unprocessable),
    ("copy", {"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ("a copy is apart", {"a": [1]}, [{"op": "copy", "from": "/a", "path": "/c"}, op("add", "/a/-", value=2)],
     {"a": [1, 2], "c": [1]}),
    ("copy from nowhere", {}, [{"op": "copy", "from": "/a", "path": "/c"}], Unprocessable),
    ("move to itself", {"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ("move into itself", {"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/c"}], Unprocessable),
    ("the order counts", {}, [op("add", "/a", value=[]), op("add", "/a/-", value=1)], {"a": [1]}),
    ("1 is 1.0", {"a": Decimal("1.0")}, [op("test", "/a", value=1)], {"a": Decimal("1.0")}),
    ("1 is not true", {"a": True}, [op("test", "/a", value=1)], Unprocessable),
    ("0 is not false", {"a": 0}, [op("test", "/a", value=False)], Unprocessable),
    ("null is null", {"a": None}, [op("test", "/a", value=None)], {"a": None}),
    ("deep equality", {"a": [{"b": 1}]}, [op("test", "/a", value=[{"b": 1, "c": 2}])], Unprocessable),
    ("order of arrays", {"a": [1, 2]}, [op("test", "/a", value=[2, 1])], Unprocessable),
    ("nothing to do", {"a": 1}, [], {"a": 1}),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value", "operations", "expected"), APPENDIX_A + OTHERS, ids=lambda v: str(v)[:20])
def test_patch(name: str, value: Any, operations: list[dict[str, Any]], expected: Any) -> None:
    """RFC 6902 §4 and appendix A."""
    before = repr(value)
    if expected is Unprocessable:
        with pytest.raises(Unprocessable) as caught:
            apply(operations, value)
        assert caught.value.issues[0].expression
    else:
        assert apply(operations, value) == expected
    assert repr(value) == before, "the value that was handed in stays as it is"


@pytest.mark.parametrize(
    "operations",
    [None, {}, "x", [None], [[]], [{}], [{"op": "add"}], [op("spam", "/a")], [op("add", "/a")], [op("test", "/a")],
     [{"op": "copy", "path": "/a"}], [{"op": "move", "path": "/a", "from": 1}], [op("remove", "a")],
     [{"op": "remove", "path": 1}], [op("remove", "/~")], [op("remove", "/~2")], [op("remove", "/a~")],
     [{"op": ["add"], "path": "/a", "value": 1}]],
)  # fmt: skip
def test_what_is_no_patch_is_refused_before_anything_is_done(operations: Any) -> None:
    with pytest.raises(BadRequest):
        check(operations)


def test_a_patch_stays_within_bounds() -> None:
    """Neither copies that double, nor places ever deeper, may exhaust the server."""
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 50
    with pytest.raises(FhirError) as caught:
        apply(doubling, {"a": [1]})
    assert caught.value.issues[0].code == "too-costly"
    inwards = [{"op": "copy", "from": "", "path": "/a/b"}] * 50
    with pytest.raises(FhirError):
        apply(inwards, {"a": {}})
    downwards = [op("add", "/a" * n, value={}) for n in range(1, 2_000)]
    with pytest.raises(FhirError, match="deeper"):
        apply(downwards, {})
