"""Rules over the code itself: what may import what (architecture, "Imports point down only")."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A package of a later rank may import those of its own rank and of earlier ones. The longest prefix counts.
RANKS: tuple[tuple[str, ...], ...] = (
    ("fhir_server.fhir", "profiles.definitions", "profiles"),
    ("fhir_server.search", "fhir_server.store.protocol", "fhir_server.settings"),
    ("fhir_server.store.sqlite", "fhir_server.store.mongo", "fhir_server.store"),
    ("fhir_server.interactions",),
    ("fhir_server.booking", "fhir_server.audit"),
    ("fhir_server.rest", "fhir_server.clinics", "smart_auth", "subscriptions", "seed"),
    ("fhir_server.app", "fhir_server.cli", "fhir_server"),
)
OWN = ("fhir_server", "smart_auth", "subscriptions", "seed", "profiles")


def _modules() -> dict[str, ast.Module]:
    found = {}
    for package in OWN:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()


def _imports(tree: ast.Module) -> set[str]:
    """The modules that a module imports when it is run; those for type checkers alone are left out."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for inner in node.body:
                inner.names = []  # type: ignore[attr-defined]
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.names:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES) or {node.module}
    return found


def _rank(module: str) -> int:
    best = max(
        (len(prefix), rank)
        for rank, prefixes in enumerate(RANKS)
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    )
    return best[1]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    ours = {name for name in _imports(MODULES[module]) if name.partition(".")[0] in OWN}
    wrong = sorted(name for name in ours if _rank(name) > _rank(module))
    assert not wrong


@pytest.mark.parametrize(("library", "home"), [("apsw", "fhir_server.store.sqlite"), ("sqlite3", "nowhere"),
                                               ("pymongo", "fhir_server.store.mongo")])  # fmt: skip
def test_only_a_store_knows_its_library(library: str, home: str) -> None:
    users = {name for name, tree in MODULES.items() if any(i.partition(".")[0] == library for i in _imports(tree))}
    assert all(name.startswith(home) for name in users), users


@pytest.mark.parametrize("pure", ["fhir_server.search", "fhir_server.fhir"])
def test_leaves_do_no_input_or_output(pure: str) -> None:
    """No store, socket or file; a clock is handed in (style 9)."""
    allowed_time = {"fhir_server.fhir.clock"}
    for name, tree in MODULES.items():
        if name.startswith(pure) and name not in allowed_time:
            heads = {each.partition(".")[0] for each in _imports(tree)}
            assert not heads & {"os", "socket", "asyncio", "httpx", "time", "pathlib", "random", "secrets"}, name


def test_handlers_see_no_store() -> None:
    """Interactions and rules are given a Repository: none opens a store (architecture, "Three ideas")."""
    for name, tree in MODULES.items():
        if name.startswith("fhir_server.interactions"):
            for node in ast.walk(tree):
                assert not (isinstance(node, ast.Attribute) and node.attr in ("run", "record")), name


def test_every_module_says_what_it_is_for() -> None:
    missing = [name for name, tree in MODULES.items() if not ast.get_docstring(tree)]
    assert not missing


def test_modules_stay_short() -> None:
    """style 5: past 350 lines a module needs a reason."""
    for name in MODULES:
        path = ROOT.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, name


@pytest.mark.requirement("R-C.2")
def test_the_top_level_is_the_design_cards() -> None:
    named = ("fhir_server", "profiles", "smart_auth", "subscriptions", "seed", "tests", "pyproject.toml", "README.md")
    assert all((ROOT / name).exists() for name in named)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {"fhir_server", "profiles", "smart_auth", "subscriptions", "seed"}


@pytest.mark.requirement("R-C.1")
def test_the_design_cards_packages_are_used() -> None:
    """Named as dependencies, and imported where each is good at something."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[^A-Za-z0-9.\-]", each)[0].lower() for each in wanted}
    assert {"fastapi", "uvicorn", "pymongo", "authlib", "jsonschema", "pytest", "respx", "fhir.resources"} <= names
    ours = {each.partition(".")[0] for tree in MODULES.values() for each in _imports(tree)}
    assert {"fastapi", "uvicorn", "pymongo", "authlib", "jsonschema"} <= ours
