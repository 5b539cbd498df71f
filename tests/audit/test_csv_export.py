"""The log as a table: whatever somebody put into a request, no spreadsheet runs it when an auditor opens the file."""

import csv
import io
import re

import pytest

from fhir_server.audit.export import COLUMNS, csv_line, export
from tests.harness import Harness

# Whichever of these a spreadsheet takes for the border of a cell, quoted or not.
_BORDERS = re.compile(r"[;|\t\r\n]")
_RUN = ("=", "+", "-", "@", "\t", "\r")
TEXTS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "x;=cmd|'/C calc'!A0", "x;;-1", "x|=1", "x\n@1", 'x;"=1',
    '"=1', 'x";"+1', "x;\t=1", "plain", "Slot?start=ge2027-01-01&_count=2", "",
)  # fmt: skip


def _cells(line: str) -> list[str]:
    """The beginnings of cells, read as RFC 4180 has it and by each other border, quotes kept or left out."""
    [row] = csv.reader(io.StringIO(line, newline=""))
    parts = [*row, *(part for text in (line, *row) for part in _BORDERS.split(text))]
    return [*parts, *(part.lstrip('"') for part in parts)]


@pytest.mark.parametrize("text", TEXTS)
def test_no_cell_begins_a_formula(text: str) -> None:
    """Alone, first, last, and in the middle; text that begins none is as it was."""
    for values in ([text], [text, "x"], ["x", text], ["x", text, "y"]):
        line = csv_line(values).decode()
        assert not [cell for cell in _cells(line) if cell.startswith(_RUN)], line
        [row] = csv.reader(io.StringIO(line, newline=""))
        assert [value.replace("'", "") for value in row] == [value.replace("'", "") for value in values]
    if text in ("plain", "Slot?start=ge2027-01-01&_count=2", ""):
        assert csv_line([text, "x"]).decode() == f'"{text}","x"\r\n'


async def test_what_was_asked_begins_no_cell_of_its_own(clinic: Harness) -> None:
    """A path of anybody's, without a token; the URL stays the same."""
    await clinic.get("x%3B=cmd%7C'%2FC calc'!A0")
    await clinic.get("Slot?status=free;busy", "dr-lee")
    out = io.BytesIO()
    count = await export(clinic.parts.store, await clinic.parts.clinics.get("demo"), "csv", out)
    head, *rows = csv.reader(io.StringIO(out.getvalue().decode(), newline=""))
    assert tuple(head) == COLUMNS
    assert len(rows) == count
    queries = [row[COLUMNS.index("query")] for row in rows]
    assert [query for query in queries if "calc" in query] == ["GET x%3B=cmd|'/C calc'!A0"]
    assert not [query for query in queries if ";" in query]
    assert [query for query in queries if "busy" in query]
