"""`netmon validate`: whether configuration files can be used."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say
from netmon.errors import ConfigError


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("validate", help="check a configuration file")
    parser.add_argument("files", nargs="+", metavar="FILE", help="-: standard input")
    parser.set_defaults(command=validate)


def validate(options: argparse.Namespace) -> int:
    """Read each file. Raises ConfigError with all of their problems."""
    from netmon.config import Config  # slow to import

    problems = []
    for file in options.files:
        try:
            Config.from_yaml("/dev/stdin" if file == "-" else file)
        except ConfigError as error:
            problems += error.problems
        else:
            say(f"{'standard input' if file == '-' else file} is valid")
    if problems:
        raise ConfigError(problems)
    return EXIT_OK
