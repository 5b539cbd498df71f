"""Packs the official R4 examples: `python -m tests.data.pack_examples hl7.fhir.r4.examples-4.0.1.tgz`.

The source is the npm package hl7.fhir.r4.examples 4.0.1 (CC0). Kept, as published: every instance of a type that is
not of the specification's own machinery, and of those types the ones that are named as examples.
"""

import hashlib
import io
import lzma
import re
import sys
import tarfile
from pathlib import Path

TGZ_SHA256 = "dce87f1b5b9341867033f7d1f544fa1b5232503f6d62813887ac6b8a8b6cb682"
OUT = Path(__file__).parent / "r4-examples.tar.xz"

_MACHINERY_TYPES = (
    "SearchParameter ValueSet CodeSystem StructureDefinition ConceptMap OperationDefinition CapabilityStatement "
    "CompartmentDefinition NamingSystem StructureMap"
)
MACHINERY = frozenset(_MACHINERY_TYPES.split())
# Of the machinery, what is there as an example; not for instance the value set `list-example-codes`.
_IS_EXAMPLE = re.compile(r"-example(\.json|-|\d)")
_NO_EXAMPLES = frozenset(
    ["CodeSystem-list-example-codes.json", "ValueSet-list-example-codes.json", "package.json", ".index.json"]
)
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]


def is_kept(name: str) -> bool:
    """Whether the file (`Type-id.json`, or `ig-r4.json`) is one of the examples."""
    if not name.endswith(".json") or name in _NO_EXAMPLES:
        return False
    return name.partition("-")[0] not in MACHINERY or _IS_EXAMPLE.search(name) is not None


def pack(tgz: Path, out: Path) -> int:
    """Writes the archive, sorted and without times or owners; returns how many examples it holds."""
    content = tgz.read_bytes()
    if hashlib.sha256(content).hexdigest() != TGZ_SHA256:
        raise ValueError(f"{tgz.name} is not the pinned package.")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as source:
        files = {
            Path(member.name).name: file.read()
            for member in source
            if is_kept(Path(member.name).name) and (file := source.extractfile(member))
        }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as target:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    out.write_bytes(lzma.compress(packed.getvalue(), filters=_FILTERS))
    return len(files)


if __name__ == "__main__":
    sys.stdout.write(f"{pack(Path(sys.argv[1]), OUT)} examples\n")
