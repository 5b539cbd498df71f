"""Words for full text: `_text` finds in narratives, `_content` in all of a resource (FHIR R4 search.html#content).

A word is a run of letters and digits, folded as strings are. Words are entries like codes, so that no store's own
notion of a word enters an answer.
"""

import re
from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.errors import BadRequest
from fhir_server.search.plan import Node, Test, Token, all_of
from fhir_server.search.text import fold

TEXT, CONTENT = "_text", "_content"
_WORD = re.compile(r"[^\W_]+")
_TAG = re.compile(r"<[^>]*>")
_LONGEST = 64
_MOST = 5_000


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return [word[:_LONGEST] for word in _WORD.findall(fold(text))]


def narrative(resource: Mapping[str, Any]) -> dict[str, None]:
    """The words of a resource's narrative."""
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    return dict.fromkeys(words(_TAG.sub(" ", div))) if isinstance(div, str) else {}


def content(resource: Mapping[str, Any]) -> dict[str, None]:
    """The words of every string in a resource."""
    found: dict[str, None] = {}
    open_: list[Any] = [resource]
    while open_ and len(found) < _MOST:
        value = open_.pop()
        if isinstance(value, str):
            found |= dict.fromkeys(words(_TAG.sub(" ", value) if value.startswith("<div") else value))
        elif isinstance(value, dict):
            open_ += [held for name, held in value.items() if name not in ("resourceType", "data")]
        elif isinstance(value, list):
            open_ += value
    return found


def node(param: str, text: str) -> Node:
    """The condition that every word of a text is there. Raises BadRequest."""
    wanted = dict.fromkeys(words(text))
    if not wanted:
        raise BadRequest(f"'{param}' takes words: letters and digits.", expression=param)
    return all_of(*(Test(param, "token", Token(word, "")) for word in wanted))
