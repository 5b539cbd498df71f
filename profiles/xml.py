"""FHIR XML to the same values as FHIR JSON, and back, element by element as defined (FHIR R4 xml.html).

Nothing is lost either way but comments and layout. A document type, and so every entity, is refused; nesting is
bounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest
from profiles import narrative
from profiles.elements import Elements, Property

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
# The document and a primitive's element are no containers of JSON.
MAX_DEPTH = json.MAX_DEPTH + 2
_NUMBERS = frozenset({"integer", "positiveInt", "unsignedInt"})
# What XML cannot have at all (XML 1.0 §2.2) is in nothing that is taken, but in what a refusal quotes.
_NO_CHARACTERS = (*range(0x20), 0xFFFE, 0xFFFF)
_ESCAPES = dict.fromkeys(_NO_CHARACTERS, "\ufffd") | str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)


@dataclass(slots=True)
class Node:
    """An element of the document; `raw` is the text of a narrative's div as it was written."""

    name: str
    attributes: Mapping[str, str]
    children: list["Node"] = field(default_factory=list)
    raw: str = ""


def read(body: bytes, elements: Elements) -> dict[str, Any]:
    """The resource of an XML document. Raises BadRequest."""
    root = _Parser(body).root()
    return of_tree(root, elements)


def tree(body: bytes) -> Node:
    """The elements of an XML document as they stand. Raises BadRequest."""
    return _Parser(body).root()


def of_tree(root: Node, elements: Elements) -> dict[str, Any]:
    """The resource of such elements. Raises BadRequest."""
    made = _Reader(elements).resource(root, root.name)
    if json.depth_exceeds(made, json.MAX_DEPTH):  # a repeated element is one level here, and two of JSON
        raise _malformed(f"The body is nested deeper than {json.MAX_DEPTH} levels of JSON.")
    return made


def read_diff(body: bytes) -> tuple[Node, Mapping[str, str]]:
    """An XML Patch document, and the namespaces of its prefixes; `raw` of an operation is its text (RFC 5261).

    Raises BadRequest.
    """
    parser = _DiffParser(body)
    return parser.root(), parser.namespaces


def write(resource: dict[str, Any], elements: Elements) -> bytes:
    """The XML document of a resource."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    _Writer(elements, parts).resource(resource, f' xmlns="{FHIR}"')
    return "".join(parts).encode()


def pretty(document: bytes) -> bytes:
    """The same document, one that `write` made, with a line for each element; narratives stay as they are."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    _indent(_Parser(document, is_own=True).root(), f' xmlns="{FHIR}"', "", lines)
    return "\n".join((*lines, "")).encode()


def _indent(node: Node, namespace: str, before: str, lines: list[str]) -> None:
    if node.raw:
        lines.append(before + node.raw)
        return
    attributes = namespace + "".join(f' {name}="{text.translate(_ESCAPES)}"' for name, text in node.attributes.items())
    lines.append(f"{before}<{node.name}{attributes}{'>' if node.children else '/>'}")
    for child in node.children:
        _indent(child, "", before + "  ", lines)
    if node.children:
        lines.append(f"{before}</{node.name}>")


def _malformed(text: str, at: str | None = None) -> BadRequest:
    return BadRequest(text, expression=at, code="structure")


class _Parser:
    """The document as nodes, by expat: no document types, no entities, bounded nesting but where it `is_own`."""

    def __init__(self, body: bytes, *, is_own: bool = False) -> None:
        self._body = body.removeprefix(b"\xef\xbb\xbf")
        self._open: list[Node] = [Node("", {})]
        self._div: int | None = None
        self._inside_div = 0
        self._is_own = is_own
        self._parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._declaration
        self._parser.EntityDeclHandler = self._declaration
        self._parser.ProcessingInstructionHandler = self._declaration

    def root(self) -> Node:
        try:
            self._parser.Parse(self._body, True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise _malformed(f"The body is not XML: {what} at line {error.lineno}, column {error.offset}.") from error
        return self._open[0].children[0]

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        if self._inside_div:
            self._inside_div += 1
        elif namespace == XHTML and local == "div":
            self._inside_div, self._div = 1, self._parser.CurrentByteIndex
        elif namespace != FHIR:
            raise _malformed(f"The element '{local[:64]}' is not in the namespace {FHIR}.")
        else:
            self._open.append(Node(local, attributes))
        if (len(self._open) > MAX_DEPTH or self._inside_div > narrative.MAX_DEPTH) and not self._is_own:
            raise _malformed(f"The body is nested deeper than {json.MAX_DEPTH} levels.")

    def _end(self, _: str) -> None:
        if self._inside_div:
            self._inside_div -= 1
            if self._inside_div == 0:
                end = self._body.index(b">", self._parser.CurrentByteIndex) + 1
                raw = self._body[self._div : end].decode()
                if not raw.startswith("<div"):
                    raise _malformed("A narrative's div has the XHTML namespace as its default namespace.")
                self._open[-1].children.append(Node("div", {}, raw=raw))
            return
        node = self._open.pop()
        self._open[-1].children.append(node)

    def _text(self, data: str) -> None:
        if not self._inside_div and data.strip():
            raise _malformed("There is text between elements; values stand in the attribute 'value'.")

    def _declaration(self, *_: Any) -> None:
        if not self._is_own:
            raise _malformed("A document type, an entity or a processing instruction is not allowed.")


class _DiffParser(_Parser):
    """Operations of any namespace in a root of any name; what stands in them is of FHIR's."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.namespaces: dict[str, str] = {}
        self._parser.StartNamespaceDeclHandler = self._namespace

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) <= 2 and not self._inside_div:
            self._open.append(Node(name.rpartition(" ")[2], attributes))
        else:
            super()._start(name, attributes)

    def _text(self, data: str) -> None:
        if len(self._open) == 3 and not self._inside_div:
            self._open[-1].raw += data
        else:
            super()._text(data)

    def _namespace(self, prefix: str | None, uri: str) -> None:
        if len(self._open) <= 2:
            self.namespaces[prefix or ""] = uri


class _Reader:
    def __init__(self, elements: Elements) -> None:
        self._elements = elements

    def resource(self, node: Node, at: str) -> dict[str, Any]:
        made: dict[str, Any] = {"resourceType": node.name}
        self._attributes(node, made, (), at)
        self._children(node, node.name, made, at)
        return made

    def _children(self, node: Node, container: str, made: dict[str, Any], at: str) -> None:
        try:
            known = self._elements.of(container)
        except KeyError:
            raise _malformed(f"There is no type '{container[:64]}' in FHIR R4.", at) from None
        for child in node.children:
            each = known.get(child.name)
            where = f"{at}.{child.name[:64]}"
            if each is None:
                raise _malformed(f"There is no element '{child.name[:64]}' here.", where)
            if each.is_primitive and each.type != "xhtml":
                self._primitive(child, each, made, where)
                continue
            value = self._value(child, each, where)
            if each.is_list:
                made.setdefault(each.name, []).append(value)
            elif each.name in made:
                raise _malformed(f"The element '{each.name}' occurs once only.", where)
            else:
                made[each.name] = value
        for name, held in list(made.items()):
            if held.__class__ is list and all(item is None for item in held):
                del made[name]  # an array of nothing but extensions has no values at all (json.html#primitive)

    def _value(self, node: Node, each: Property, at: str) -> Any:
        if each.type == "xhtml":
            return node.raw
        if each.type == "Resource":
            if len(node.children) != 1:
                raise _malformed("Here stands one resource.", at)
            return self.resource(node.children[0], at)
        made: dict[str, Any] = {}
        self._attributes(node, made, ("id", "url") if each.type == "Extension" else ("id",), at)
        self._children(node, each.container, made, at)
        return made

    def _attributes(self, node: Node, made: dict[str, Any], allowed: tuple[str, ...], at: str) -> None:
        for name, value in node.attributes.items():
            if " " in name:  # of another namespace, such as xsi:schemaLocation
                continue
            if name not in allowed:
                raise _malformed(f"There is no attribute '{name[:64]}' here.", at)
            made[name] = value

    def _primitive(self, node: Node, each: Property, made: dict[str, Any], at: str) -> None:
        attributes = {name: value for name, value in node.attributes.items() if name != "value"}
        beside: dict[str, Any] = {}
        self._attributes(Node(node.name, attributes), beside, ("id",), at)
        self._children(node, "Element", beside, at)
        text = node.attributes.get("value")
        value = None if text is None else _json_value(text, each.type)
        if not each.is_list:
            if each.name in made or f"_{each.name}" in made:
                raise _malformed(f"The element '{each.name}' occurs once only.", at)
            if value is not None:
                made[each.name] = value
            if beside:
                made[f"_{each.name}"] = beside
            return
        values = made.setdefault(each.name, [])
        values.append(value)
        besides = made.get(f"_{each.name}")
        if beside and besides is None:
            besides = made[f"_{each.name}"] = [None] * (len(values) - 1)
        if besides is not None:
            besides.append(beside or None)


def _json_value(text: str, type_: str) -> Any:
    if type_ == "boolean" and text in ("true", "false"):
        return text == "true"
    if type_ in _NUMBERS or type_ == "decimal":
        try:
            value = json.parse(text)
        except BadRequest:
            return text  # the structural check says what is wrong
        return value if not isinstance(value, dict | list | str | bool) else text
    return text


class _Writer:
    def __init__(self, elements: Elements, parts: list[str]) -> None:
        self._elements, self._parts = elements, parts

    def resource(self, value: dict[str, Any], namespace: str = "") -> None:
        type_ = value["resourceType"]
        self._parts.append(f"<{type_}{namespace}>")
        self._properties(value, type_)
        self._parts.append(f"</{type_}>")

    def _properties(self, value: dict[str, Any], container: str, but: tuple[str, ...] = ()) -> None:
        for name, each in self._elements.of(container).items():
            if name in but:
                continue
            if each.is_primitive and each.type != "xhtml":
                self._primitives(name, value.get(name), value.get(f"_{name}"))
            elif name in value:
                held = value[name]
                for item in held if isinstance(held, list) else (held,):
                    self._one(name, each, item)

    def _one(self, name: str, each: Property, item: Any) -> None:
        if each.type == "xhtml":
            self._parts.append(item)
        elif each.type == "Resource":
            self._parts.append(f"<{name}>")
            self.resource(item)
            self._parts.append(f"</{name}>")
        else:
            names = ("id", "url") if each.type == "Extension" else ("id",)
            attributes = "".join(f' {n}="{str(item[n]).translate(_ESCAPES)}"' for n in names if n in item)
            self._parts.append(f"<{name}{attributes}>")
            self._properties(item, each.container, names)
            self._parts.append(f"</{name}>")

    def _primitives(self, name: str, value: Any, beside: Any) -> None:
        if value is None and beside is None:
            return
        if not isinstance(value if value is not None else beside, list):
            self._primitive(name, value, beside)
            return
        length = len(value if value is not None else beside)
        for item, own in zip(value or [None] * length, beside or [None] * length, strict=False):
            self._primitive(name, item, own)

    def _primitive(self, name: str, value: Any, beside: dict[str, Any] | None) -> None:
        beside = beside or {}
        attributes = f' id="{beside["id"].translate(_ESCAPES)}"' if "id" in beside else ""
        if value is not None:
            attributes += f' value="{_text(value).translate(_ESCAPES)}"'
        if "extension" not in beside:
            self._parts.append(f"<{name}{attributes}/>")
            return
        self._parts.append(f"<{name}{attributes}>")
        self._properties(beside, "Element", ("id",))
        self._parts.append(f"</{name}>")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return getattr(value, "text", None) or str(value)
