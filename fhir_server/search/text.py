"""Strings as search compares them: without case and accents (FHIR R4 search.html#string)."""

import unicodedata


def fold(text: str) -> str:
    """The folded form: compatibility-decomposed, without combining marks, without case. Folding twice is once."""
    if text.isascii():
        return text.lower()
    return _strip(_strip(text).casefold())


def _strip(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
