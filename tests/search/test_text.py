"""Folding of strings and escapes of values (FHIR R4 search.html#string, #escaping)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.escapes import split, unescape
from fhir_server.search.text import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Smith", "smith"),
        ("Müller", "muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("É́cole", "ecole"),
        ("Ørsted", "ørsted"),  # a letter of its own, not an accent
        ("İstanbul", "istanbul"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("ﬁle", "file"),
        ("Ｆｕｌｌ", "full"),
        ("Йод", "иод"),
        ("", ""),
    ],
)
def test_folding_drops_case_and_accents(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_ascii_folds_alike_on_both_ways(text: str) -> None:
    assert fold(text + "é") == fold(text) + "e"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("a\\,b,c", ["a\\,b", "c"]),
        ("a\\\\,b", ["a\\\\", "b"]),
        ("a\\\\\\,b", ["a\\\\\\,b"]),
        (",", ["", ""]),
        ("a\\", ["a\\"]),
        ("a\\,", ["a\\,"]),
    ],
)
def test_split_respects_escapes(text: str, parts: list[str]) -> None:
    assert split(text, ",") == parts


@given(st.lists(st.text(alphabet="ab,|$\\"), min_size=1))
def test_escaped_parts_come_back(parts: list[str]) -> None:
    def escape(part: str) -> str:
        for character in "\\,|$":
            part = part.replace(character, "\\" + character)
        return part

    assert [unescape(part) for part in split(",".join(map(escape, parts)), ",")] == parts


def test_another_backslash_stands_for_itself() -> None:
    assert unescape("a\\b\\") == "a\\b\\"
