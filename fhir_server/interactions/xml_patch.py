"""XML Patch: `add`, `replace` and `remove` on the XML form of a resource (RFC 5261, FHIR R4 http.html#patch).

Selectors are RFC 5261's without `id()`, comments, processing instructions and namespaces; a predicate may look at a
path, as in `f:identifier[f:system/@value='urn:mrn']`. Each selector locates exactly one node.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.errors import BadRequest, Unprocessable
from profiles import xml
from profiles.elements import Elements
from profiles.xml import Node

MEDIA_TYPE = "application/xml-patch+xml"
_KINDS = frozenset({"add", "replace", "remove"})
_POSITIONS = frozenset({"", "prepend", "before", "after"})
_NAME = r"(?:(?:[A-Za-z_][\w.\-]*:)?[A-Za-z_][\w.\-]*|\*)"
_STEP = re.compile(rf"(@)?({_NAME})((?:\[[^\[\]]*\])*)(?:/|$)")
_PREDICATE = re.compile(
    rf"\[\s*(?:(?P<place>\d{{1,6}})|(?P<path>@?{_NAME}(?:/@?{_NAME})*)\s*=\s*(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"))\s*\]"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a selector: a child element, or an attribute, by its name; `*` is any element."""

    name: str
    is_attribute: bool = False
    predicates: tuple["int | tuple[tuple[Step, ...], str]", ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: where, what, and at which position. `attribute` is the one that an `add` makes."""

    kind: str
    steps: tuple[Step, ...]
    content: tuple[Node, ...] = ()
    text: str = ""
    position: str = ""
    attribute: str = ""


def read(body: bytes) -> list[Operation]:
    """The operations of a patch document. Raises BadRequest."""
    root, namespaces = xml.read_diff(body)
    return [_operation(node, namespaces, number) for number, node in enumerate(root.children, 1)]


def roots(operations: list[Operation]) -> Iterator[tuple[str | None, str]]:
    """The top-level elements that the operations touch (None: it cannot be told), each with its operation."""
    for number, operation in enumerate(operations, 1):
        at = f"operation {number}"
        if len(operation.steps) > 1:
            name = operation.steps[1].name
            yield (None if name == "*" else name), at
        if len(operation.steps) == 1 or operation.position in ("before", "after"):
            yield from ((node.name, at) for node in operation.content)


def apply(operations: list[Operation], resource: dict[str, Any], elements: Elements) -> dict[str, Any]:
    """The resource after all operations, in order. Raises Unprocessable for one that does not fit it."""
    root = xml.tree(xml.write(resource, elements))
    document = Node("", {}, [root])
    for number, operation in enumerate(operations, 1):
        try:
            _apply(operation, document)
        except _Unfit as error:
            raise Unprocessable(f"Operation {number} of the patch does not fit: {error}.") from error
    if len(document.children) != 1:
        raise Unprocessable("The patch leaves no resource: its root must stay one element.", code="structure")
    try:
        return xml.of_tree(document.children[0], elements)
    except BadRequest as error:
        raise Unprocessable(issues=error.issues) from error


class _Unfit(Exception):
    """Why an operation does not fit the resource."""


def _operation(node: Node, namespaces: Mapping[str, str], number: int) -> Operation:
    def malformed(why: str) -> BadRequest:
        return BadRequest(f"Operation {number} of the patch is malformed: {why}.", code="structure")

    given = dict(node.attributes)
    if node.name not in _KINDS:
        raise malformed(f"it is one of {', '.join(sorted(_KINDS))}")
    selector, position, type_ = given.pop("sel", ""), given.pop("pos", ""), given.pop("type", "")
    given.pop("ws", None)  # white space says nothing in FHIR
    if given:
        raise malformed(f"it has no attribute '{next(iter(given))[:32]}'")
    if position not in _POSITIONS or (position and node.name != "add"):
        raise malformed("'pos' of an add is prepend, before or after")
    if type_ and (node.name != "add" or not type_.startswith("@")):
        raise malformed("'type' of an add is @ and the name of an attribute")
    steps = _steps(selector, namespaces)
    if not steps or any(step.is_attribute for step in steps[:-1]):
        raise malformed("'sel' is a path such as f:Patient/f:birthDate or f:Patient/f:birthDate/@value")
    text = node.raw.strip() if node.children else node.raw
    on_attribute = steps[-1].is_attribute or bool(type_)
    if (on_attribute and node.children) or (not on_attribute and text.strip()):
        raise malformed("an attribute is given as text, an element as an element")
    if node.name == "add" and not on_attribute and not node.children:
        raise malformed("it adds nothing")
    if node.name == "add" and steps[-1].is_attribute:
        raise malformed("it adds to an element")
    if node.name == "replace" and not on_attribute and len(node.children) != 1:
        raise malformed("an element is replaced by one element")
    if node.name == "remove" and (node.children or text.strip()):
        raise malformed("a remove has no content")
    return Operation(node.name, tuple(steps), tuple(node.children), text, position, type_[1:])


def _steps(selector: str, namespaces: Mapping[str, str]) -> list[Step]:
    """The steps of a selector; none when it is not one that is taken here."""
    text, at = selector.strip().removeprefix("/"), 0
    found: list[Step] = []
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return []
        name = _local(match[2], namespaces, is_attribute=bool(match[1]))
        predicates = _predicates(match[3], namespaces)
        if name is None or predicates is None:
            return []
        found.append(Step(name, bool(match[1]), predicates))
        at = match.end()
    return [] if text.endswith("/") else found


def _local(name: str, namespaces: Mapping[str, str], *, is_attribute: bool) -> str | None:
    """The name without its prefix, which must stand for FHIR's namespace; None for another."""
    prefix, colon, local = name.rpartition(":")
    if name == "*" or is_attribute:
        return None if colon else name
    # Where the document declares nothing, a plain name can only mean FHIR's.
    namespace = namespaces.get(prefix, xml.FHIR if not colon else "")
    return local if namespace in (xml.FHIR, xml.XHTML) else None


def _predicates(text: str, namespaces: Mapping[str, str]) -> "tuple[int | tuple[tuple[Step, ...], str], ...] | None":
    found: list[int | tuple[tuple[Step, ...], str]] = []
    at = 0
    while at < len(text):
        match = _PREDICATE.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match["place"]:
            found.append(int(match["place"]))
            continue
        steps = _steps(match["path"], namespaces)
        if not steps:
            return None
        found.append((tuple(steps), match["single"] if match["single"] is not None else match["double"]))
    return tuple(found)


@dataclass(slots=True)
class _Found:
    """A node that a selector located: its parent, itself, and the attribute, if it is one."""

    parent: Node
    node: Node
    attribute: str = ""


def _apply(operation: Operation, document: Node) -> None:
    found = _one(operation.steps, document)
    siblings, content = found.parent.children, deepcopy(operation.content)  # a Unit may run again
    place = next(n for n, each in enumerate(siblings) if each is found.node)
    attributes = dict(found.node.attributes)
    if found.attribute or operation.attribute:
        name = found.attribute or operation.attribute
        if operation.kind == "add" and name in attributes:
            raise _Unfit(f"there is an attribute '{name[:32]}' already; replace it")
        if operation.kind == "remove":
            del attributes[name]
        else:
            attributes[name] = operation.text
        found.node.attributes = attributes
    elif operation.kind == "remove":
        del siblings[place]
    elif operation.kind == "replace":
        siblings[place] = content[0]
    elif operation.position in ("before", "after"):
        place += operation.position == "after"
        siblings[place:place] = content
    elif operation.position == "prepend":
        found.node.children[:0] = content
    else:
        found.node.children.extend(content)


def _one(steps: tuple[Step, ...], document: Node) -> _Found:
    found = _located(steps, document)
    if len(found) != 1:
        raise _Unfit("its selector finds nothing" if not found else "its selector finds more than one node")
    return found[0]


def _located(steps: tuple[Step, ...], start: Node) -> list[_Found]:
    found = [_Found(start, start)]
    for step in steps:
        if step.is_attribute:
            return [_Found(each.parent, each.node, step.name) for each in found if step.name in each.node.attributes]
        found = [below for each in found for below in _children(each.node, step)]
    return found


def _children(parent: Node, step: Step) -> list[_Found]:
    found = [_Found(parent, child) for child in parent.children if step.name in ("*", child.name)]
    for predicate in step.predicates:
        if isinstance(predicate, int):
            found = found[predicate - 1 : predicate] if predicate else []
        else:
            steps, wanted = predicate
            found = [each for each in found if wanted in _values(steps, each.node)]
    return found


def _values(steps: tuple[Step, ...], node: Node) -> list[str]:
    """The attributes that a predicate's path leads to; of an element, its `value`."""
    located = _located(steps, node)
    return [value for each in located if (value := each.node.attributes.get(each.attribute or "value")) is not None]
