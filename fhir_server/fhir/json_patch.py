"""JSON Patch: a list of operations on a JSON value (RFC 6902), with JSON Pointers (RFC 6901)."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

from fhir_server.fhir.errors import BadRequest, Unprocessable
from fhir_server.fhir.json import MAX_DEPTH, depth_exceeds

# Values that one patch may copy: each copy may double the whole, so forty of them would fill any memory.
MOST_COPIED = 100_000

_MEMBERS = {
    "add": {"value"},
    "replace": {"value"},
    "test": {"value"},
    "remove": set(),
    "move": {"from"},
    "copy": {"from"},
}


def apply(operations: Any, value: Any) -> Any:
    """The value after all operations, in order; `value` itself is left as it is.

    Raises BadRequest for what is no patch, Unprocessable for an operation that does not fit the value.
    """
    check(operations)
    result, copied = deepcopy(value), 0
    for number, operation in enumerate(operations):
        at = f"[{number}]"
        if operation["op"] == "copy":
            copied += _size(_get(result, _tokens(operation["from"], f"{at}.from"), at), MOST_COPIED)
            if copied > MOST_COPIED:
                raise Unprocessable("The patch copies too much.", expression=f"{at}.from", code="too-costly")
        result = _apply(operation, result, at)
    return result


def check(operations: Any) -> None:
    """Refuse what is no JSON Patch. Raises BadRequest that names the operation."""
    if not isinstance(operations, list):
        raise BadRequest("A JSON Patch is an array of operations.", code="structure")
    for number, operation in enumerate(operations):
        name = operation.get("op") if isinstance(operation, dict) else None
        if not isinstance(name, str) or name not in _MEMBERS:
            known = ", ".join(_MEMBERS)
            raise BadRequest(f"Operation {number} must have an 'op' of: {known}.", expression=f"[{number}].op")
        for member in ("path", *_MEMBERS[name]):
            if member not in operation or (member != "value" and not isinstance(operation[member], str)):
                raise BadRequest(f"Operation {number} ({name}) lacks '{member}'.", expression=f"[{number}].{member}")
            if member != "value":
                _tokens(operation[member], f"[{number}].{member}")


def _apply(operation: dict[str, Any], root: Any, at: str) -> Any:
    path = _tokens(operation["path"], f"{at}.path")
    match operation["op"]:
        case "add":
            return _add(root, path, deepcopy(operation["value"]), at)
        case "remove":
            return _remove(root, path, at)
        case "replace":
            _get(root, path, at)
            return deepcopy(operation["value"]) if not path else _replace(root, path, deepcopy(operation["value"]), at)
        case "test":
            if not _equal(_get(root, path, at), operation["value"]):
                raise Unprocessable(f"The test at '{operation['path']}' does not hold.", expression=f"{at}.value")
            return root
    source = _tokens(operation["from"], f"{at}.from")
    value = deepcopy(_get(root, source, at))
    if operation["op"] == "move":
        if path[: len(source)] == source and path != source:
            raise Unprocessable("A value cannot be moved into itself.", expression=f"{at}.path")
        root = _remove(root, source, at)
    return _add(root, path, value, at)


def _tokens(pointer: str, at: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise BadRequest("A JSON Pointer is empty or begins with '/'.", expression=at)
    parts = pointer.split("/")[1:]
    if any("~" in part.replace("~0", "").replace("~1", "") for part in parts):
        raise BadRequest("'~' in a JSON Pointer is written ~0, and '/' ~1.", expression=at)
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _get(value: Any, path: list[str], at: str) -> Any:
    for token in path:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list):
            value = value[_index(token, len(value) - 1, at)]
        else:
            raise _absent(token, at)
    return value


def _add(root: Any, path: list[str], value: Any, at: str) -> Any:
    _check_depth(path, value, at)
    if not path:
        return value
    parent, token = _get(root, path[:-1], at), path[-1]
    if isinstance(parent, dict):
        parent[token] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if token == "-" else _index(token, len(parent), at), value)
    else:
        raise _absent(token, at)
    return root


def _replace(root: Any, path: list[str], value: Any, at: str) -> Any:
    _check_depth(path, value, at)
    parent, token = _get(root, path[:-1], at), path[-1]
    if isinstance(parent, list):
        parent[_index(token, len(parent) - 1, at)] = value
    else:
        parent[token] = value
    return root


def _remove(root: Any, path: list[str], at: str) -> Any:
    if not path:
        raise Unprocessable("The whole resource cannot be removed by a patch; delete it.", expression=f"{at}.path")
    _get(root, path, at)
    parent, token = _get(root, path[:-1], at), path[-1]
    if isinstance(parent, list):
        del parent[_index(token, len(parent) - 1, at)]
    else:
        del parent[token]
    return root


def _check_depth(path: list[str], value: Any, at: str) -> None:
    if depth_exceeds(value, MAX_DEPTH - len(path)):
        raise Unprocessable(f"The patch nests deeper than {MAX_DEPTH} levels.", expression=f"{at}.path")


def _size(value: Any, limit: int) -> int:
    """How many values there are in a value, counted to just beyond the limit."""
    count, level = 0, [value]
    while level and count <= limit:
        count += len(level)
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        ]
    return count


def _index(token: str, last: int, at: str) -> int:
    if not token.isascii() or not token.isdigit() or (len(token) > 1 and token[0] == "0") or len(token) > 9:
        raise Unprocessable(f"'{token[:20]}' is no place in an array.", expression=f"{at}.path")
    if int(token) > last:
        raise Unprocessable(f"There is no place {token} in the array.", expression=f"{at}.path")
    return int(token)


def _absent(token: str, at: str) -> Unprocessable:
    return Unprocessable(f"There is no '{token[:64]}' where the path looks for it.", expression=f"{at}.path")


def _equal(left: Any, right: Any) -> bool:
    """Equality of JSON values (RFC 6902 §4.6): numbers by value, and never equal to booleans."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | Decimal) and isinstance(right, int | Decimal):
        return left == right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return type(left) is type(right) and bool(left == right)
