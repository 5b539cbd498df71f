"""Every link of the documents leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def test_links_lead_to_files_and_headings_that_are_there() -> None:
    assert list(_broken()) == []


def test_decisions_have_numbers_of_their_own() -> None:
    names = [path.name for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    numbers = [name[:4] for name in names]
    assert len(set(numbers)) == len(numbers), numbers
    for name in names:
        title = (ROOT / "docs" / "decisions" / name).read_text().partition("\n")[0]
        assert title.startswith(f"# {int(name[:4])}. "), (name, title)


def _broken() -> Iterator[str]:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for link in _LINK.findall(path.read_text()):
            if "://" in link or link.startswith("mailto:"):
                continue
            name, _, heading = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                yield f"{path.relative_to(ROOT)}: {link}"
            elif heading and target.suffix == ".md" and heading not in _anchors(target):
                yield f"{path.relative_to(ROOT)}: {link} has no such heading"


def _anchors(path: Path) -> set[str]:
    """The headings as links name them."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in _HEADING.findall(path.read_text())}
