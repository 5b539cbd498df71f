"""The documents name every command and setting, with the defaults that the code has."""

from pathlib import Path

from fhir_server.cli import settings_help
from tests.cli.test_cli_commands import commands

DOCS = Path(__file__).parents[2] / "docs"


def sections(name: str) -> dict[str, str]:
    """Heading -> text of a document."""
    parts = (DOCS / name).read_text().split("\n## ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def test_every_command_has_its_heading_and_no_other_is_there() -> None:
    assert list(sections("cli.md")) != []
    assert set(sections("cli.md")) == {" ".join(words) for words in commands()}


def test_every_setting_has_its_heading_with_its_default() -> None:
    found = sections("settings.md")
    meanings = settings_help.meanings()
    assert list(found) == list(meanings)
    for variable, (default, meaning) in meanings.items():
        assert meaning, variable
        assert f"Default `{default}`" in found[variable] or (default == "" and "Default none" in found[variable])


def test_serve_help_lists_every_setting() -> None:
    text = settings_help.text()
    for variable, (default, meaning) in settings_help.meanings().items():
        assert f"{variable}={default}\n      {' '.join(meaning.split())}" in text
