"""A resource as a document: its index entries in arrays by shape, and scalars to sort by beside them.

    {tenant, type, id, key, version, updated, patients, body, at,
     token: [{p, c, s}], string: [{p, f, e}], date: [{p, n, lo, hi}], …, w: {name: text}}

`at` is the creation key of a resource that is there, absent from a deleted one; `body` is null then.
`w` has two texts for each parameter with entries: where the resource stands in the ascending and in the descending
order of that parameter. A text is a sort value and then the creation key, so that texts order a whole page.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from fhir_server.search.plan import Entries
from fhir_server.store.mongo.fields import PLAIN, Fields
from fhir_server.store.mongo.schema import SHAPE_FIELDS, Document
from fhir_server.store.params import param_number, span_of
from fhir_server.store.protocol import Put, Stored

# An entry as stores hand it on: the parameter's number, then the shape's values (without the class of length).
Rows = Mapping[str, Iterable[tuple[Any, ...]]]

_SIGN = 1 << 63
_LAST_KEY = _SIGN - 1
# A text ends with a NUL and 16 digits of the creation key.
TAIL_LENGTH = 17


def numbered(type_: str, entries: Entries) -> Rows:
    """Entries with the parameters' numbers for their codes."""
    return {
        shape: [(param_number(type_, code), *values) for code, *values in found]
        for shape, found in entries.items()
        if found
    }


def of_put(tenant: str, put: Put, version: int, key: int, fields: Fields = PLAIN) -> Document:
    """The document of a version that becomes the current one; its body is sealed already."""
    head = {
        "tenant": tenant, "type": put.type, "id": put.id, "key": key, "version": version, "updated": put.updated,
        "patients": list(put.patients), "body": put.body,
    }  # fmt: skip
    if put.body is None:
        return head
    return head | {"at": key} | indexed(tenant, key, numbered(put.type, put.entries), fields)


def indexed(tenant: str, key: int, rows: Rows, fields: Fields = PLAIN) -> Document:
    """The arrays and sort texts of a resource's entries; what is sealed has no text to sort by."""
    if "token" in rows:
        rows = {**rows, "token": fields.seal_tokens(rows["token"])}
    arrays = {shape: [_entry(shape, row) for row in found] for shape, found in rows.items()}
    readable = [row for row in rows.get("token", ()) if not fields.seals(row[0])]
    return {**arrays, "w": _places(tenant, key, {**rows, "token": readable})}


def stored(document: Document, fields: Fields) -> Stored:
    """The version that a document of `resource` or `history` holds."""
    name = document["type"], document["id"], document["version"]
    return Stored(
        *name,
        document["updated"],
        fields.open_body(document["body"], *name),
        document["key"],
        tuple(document["patients"]),
        document.get("method", ""),
    )


def place_name(tenant: str, param: int, *, descending: bool, span: int = 0) -> str:
    """The name of a text in `w`. It is the tenant's own, so that a walk meets no other tenant's resources."""
    return _place_name(tenant, param) + ("d" if descending else "a") + str(span)


def place(value: Any, key: int, *, descending: bool) -> str:
    """Where a sort value and a creation key stand: a text that sorts as they do.

    Descending, the texts are walked backwards, and equal values stand in the order of creation all the same.
    """
    return f"{value_text(value)}\0{_LAST_KEY - key if descending else key:016x}"


def value_text(value: Any) -> str:
    """The part of a text before its tail; of equal beginnings the shorter comes first."""
    if isinstance(value, int):
        return f"{value + _SIGN:016x}"
    text = str(value)
    return text if text.isascii() and text.isprintable() else text.replace("\1", "\1\2").replace("\0", "\1\1")


def value_of(text: str, shape: str) -> Any:
    """The sort value that stands before the tail."""
    if shape == "date":
        return int(text, 16) - _SIGN
    return text.replace("\1\1", "\0").replace("\1\2", "\1")


def span_for_sort(shape: str, lo: Any, hi: Any) -> int:
    """The class of length under whose name a place is kept: only dates are apart."""
    return span_of("date", lo, hi) if shape == "date" else 0


def _entry(shape: str, row: tuple[Any, ...]) -> Document:
    values = row[1:]
    if "n" in SHAPE_FIELDS[shape]:
        values = (*values[:-2], span_of(shape, values[-2], values[-1]), *values[-2:])
    return {"p": row[0], **dict(zip(SHAPE_FIELDS[shape], values, strict=True))}


def _places(tenant: str, key: int, rows: Rows) -> dict[str, str]:
    """The sort texts of all parameters. A parameter of two shapes has the texts of both under names apart."""
    least: dict[tuple[str, int], tuple[Any, int]] = {}
    greatest: dict[tuple[str, int], tuple[Any, int]] = {}
    for shape, found in rows.items():
        for row in found:
            value = row[2] if shape in ("reference", "quantity") else row[1]
            if shape == "quantity" and row[1] != "":
                continue
            this = (value, span_for_sort(shape, row[-2], row[-1]))
            at = (shape, row[0])
            least[at] = min(least.get(at, this), this)
            greatest[at] = max(greatest.get(at, this), this)
    texts = {}
    for descending, chosen in ((False, least), (True, greatest)):
        for (shape, param), (value, span) in chosen.items():
            name = place_name(tenant, shape_param(shape, param), descending=descending, span=span)
            texts[name] = place(value, key, descending=descending)
    return texts


def shape_param(shape: str, param: int) -> int:
    """A number for a parameter in one shape."""
    return param * 8 + list(SHAPE_FIELDS).index(shape)


@lru_cache(maxsize=65_536)
def _place_name(tenant: str, param: int) -> str:
    digest = hashlib.blake2b(f"{tenant}.{param}".encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(digest).decode()
