"""Which requirements no test names: `python -m tests.requirements`.

The ids stand in `requirements.txt` beside this module. Where the requirements themselves are at hand
(REQUIREMENTS names their file), the list is compared with them first.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).parent
LIST = TESTS / "requirements.txt"
_ID = re.compile(r"R-[0-9C]+\.\d+")
_LINE = re.compile(r"^- (R-[0-9C]+\.)(\d+)(?: … R-[0-9C]+\.(\d+))?", re.MULTILINE)


def listed() -> list[str]:
    """The ids of the list."""
    return LIST.read_text(encoding="utf-8").split()


def defined(text: str) -> set[str]:
    """The ids that a text of requirements defines, ranges (`R-7.1 … R-7.18`) written out."""
    return {
        f"{head}{number}"
        for head, first, last in _LINE.findall(text)
        for number in range(int(first), int(last or first) + 1)
    }


def named(folder: Path = TESTS) -> dict[str, list[str]]:
    """Each id that a `requirement` mark names, with the tests or modules that do."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
                for id_ in _texts(node.args):
                    found.setdefault(id_, []).append(str(path.relative_to(folder)))
    return found


def _texts(nodes: Iterable[ast.expr]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def main() -> int:
    """Prints the ids that no test names."""
    ids, proven = listed(), named()
    source = Path(os.environ.get("REQUIREMENTS", ""))
    if source.is_file():
        for id_ in sorted(defined(source.read_text(encoding="utf-8")) ^ set(ids)):
            print(f"{id_} is in one of {source.name} and {LIST.name} only")
    for id_ in sorted(set(proven) - set(ids)):
        print(f"{id_} is named by {proven[id_][0]} and is no requirement")
    missing = [id_ for id_ in ids if id_ not in proven]
    for id_ in missing:
        print(id_)
    print(f"{len(ids) - len(missing)} of {len(ids)} requirements are named by a test", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
