"""The 747 official R4 examples, as published (see `pack_examples`)."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

_ARCHIVE = Path(__file__).parent / "r4-examples.tar.xz"
_GIANT_BYTES = 3_000_000


def examples(*, with_giants: bool = True) -> Iterator[tuple[str, bytes]]:
    """(file name without `.json`, content), sorted; without giants the Bundles above 3 MB are left out."""
    with tarfile.open(_ARCHIVE, mode="r:xz") as archive:
        for member in archive:
            if with_giants or member.size <= _GIANT_BYTES:
                file = archive.extractfile(member)
                assert file is not None
                yield member.name.removesuffix(".json"), file.read()
