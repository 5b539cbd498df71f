"""Codes, identifiers and text as index entries (FHIR R4 search.html#token, #string)."""

from collections.abc import Mapping
from typing import Any

from fhir_server.search.collected import Collected, Convert
from fhir_server.search.text import fold


def _text(value: str | None, param: str, out: Collected) -> None:
    if out.texts and value:
        out.string[(param, fold(value), value)] = None


def code(value: str, param: str, systems: Mapping[str, str] | None, out: Collected) -> None:
    """A code, with the system that its binding gives it."""
    out.token[(param, value, systems.get(value, "") if systems else "")] = None


def plain_token(value: Any, param: str, _: Any, out: Collected) -> None:
    """A text or number sought as a token."""
    out.token[(param, str(value), "")] = None


def boolean(value: bool, param: str, _: Any, out: Collected) -> None:
    """`true` or `false`."""
    out.token[(param, "true" if value else "false", "")] = None


def coding(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A code of a system."""
    out.token[(param, value.get("code", ""), value.get("system", ""))] = None
    _text(value.get("display"), param, out)


def concept(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """Every coding of a concept."""
    codings = value.get("coding")
    if codings:
        for each in codings:
            coding(each, param, None, out)
    else:
        out.token[(param, "", "")] = None
    _text(value.get("text"), param, out)


def identifier(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """An identifier by its value and system, and by its type."""
    written = value.get("value", "")
    out.token[(param, written, value.get("system", ""))] = None
    if "type" in value:
        for each in value["type"].get("coding", ()):
            typed = f"{each.get('code', '')}|{written}"
            out.token[(f"{param}:of-type", typed, each.get("system", ""))] = None
        _text(value["type"].get("text"), param, out)


def contact_point(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A phone number, address or the like, of no system."""
    out.token[(param, value.get("value", ""), "")] = None


def string(value: str, param: str, _: Any, out: Collected) -> None:
    """A text."""
    out.string[(param, fold(value), value)] = None


def concept_text(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A concept's own text."""
    if "text" in value:
        string(value["text"], param, None, out)
    else:
        out.unentered[param] = None


def parts(*names: str) -> Convert:
    """A converter that enters each of the named parts."""

    def convert(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
        if value.keys().isdisjoint(names):
            out.unentered[param] = None
        for name in names:
            part = value.get(name)
            for text in part if isinstance(part, list) else (part,):
                if text is not None:
                    out.string[(param, fold(text), text)] = None

    return convert
