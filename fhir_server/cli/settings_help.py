"""What `serve --help` and the tests tell of the settings: name, default and meaning, from their definition."""

import ast
import inspect
from dataclasses import fields

from fhir_server.settings import PREFIX, Settings


def meanings() -> dict[str, tuple[str, str]]:
    """Variable -> (default, meaning), in their order."""
    class_ = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(class_, ast.ClassDef)
    texts = {}
    for field, text in zip(class_.body, class_.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(field.target, ast.Name):
            texts[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return {f"{PREFIX}{f.name.upper()}": (_written(f.default), texts.get(f.name, "")) for f in fields(Settings)}


def text() -> str:
    """The part of the help."""
    lines = ["Settings, as environment variables with their defaults (docs/settings.md):"]
    for variable, (default, meaning) in meanings().items():
        lines += [f"  {variable}={default}", f"      {' '.join(meaning.split())}"]
    return "\n".join(lines) + "\n"


def _written(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default is None else str(default)
