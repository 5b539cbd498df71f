"""The escapes of search values: backslash before comma, bar, dollar, backslash (FHIR R4 search.html#escaping)."""

import re

_ESCAPED = re.compile(r"\\([,|$\\])")


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that are not escaped; the parts keep their escapes."""
    if separator not in text:
        return [text]
    if "\\" not in text:
        return text.split(separator)
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    """The text that was meant; a backslash before another character stands for itself."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
