"""`netmon validate`: whether a configuration file can be used."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("validate", help="check a configuration file")
    parser.add_argument("file", metavar="FILE")
    parser.set_defaults(command=validate)


def validate(options: argparse.Namespace) -> int:
    """Read the file. Raises ConfigError with all of its problems."""
    from netmon.config import Config  # slow to import

    Config.from_yaml(options.file)
    say(f"{options.file} is valid")
    return EXIT_OK
