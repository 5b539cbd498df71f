"""What the words of all commands are made with."""

import argparse
import importlib
from typing import Any


class Parser(argparse.ArgumentParser):
    """An argument parser whose help may end with what a function tells (`more`: module:function)."""

    more = ""

    def format_help(self) -> str:
        """The help, with the rest that is made only when it is asked for."""
        text = super().format_help()
        if not self.more:
            return text
        module, _, name = self.more.partition(":")
        return f"{text}\n{getattr(importlib.import_module(module), name)()}"


def command(commands: Any, name: str, run: str, help_: str, example: str) -> Parser:
    """A command: `run` is its module and function, `example` what follows the program's name."""
    parser: Parser = commands.add_parser(
        name,
        help=help_[0].lower() + help_[1:].rstrip("."),
        description=help_,
        epilog=f"Example:\n  fhir-server {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="the folder of the embedded store (or FHIR_SERVER_DATA); not looked at with FHIR_SERVER_STORE",
    )
    return parser


def new_group(commands: Any, name: str, help_: str) -> Any:
    """The place for the commands whose first word is `name`."""
    parser = commands.add_parser(name, help=help_[0].lower() + help_[1:].rstrip("."), description=help_)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
