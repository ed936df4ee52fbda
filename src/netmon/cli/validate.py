"""`netmon validate`: whether configuration files can be used, and what they mean."""

from __future__ import annotations

import argparse
import os
from typing import Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say, show
from netmon.errors import ConfigError


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "validate",
        help="check configuration files, and say what they mean",
        description="Check configurations, each by itself. It takes no rights and no particular kernel.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a file, or a directory whose files are one; -: standard input"
    )
    parser.add_argument(
        "--explain", action="store_true", help="say what they mean, a sentence a filter, rule and output"
    )
    parser.set_defaults(command=validate)


def validate(options: argparse.Namespace) -> int:
    """Read each file. Raises ConfigError with all of their problems."""
    from netmon.config import Config  # slow to import

    problems = []
    for file in options.files:
        name = "standard input" if file == "-" else file
        try:
            config = Config.from_yaml("/dev/stdin" if file == "-" else file)
        except ConfigError as error:
            problems += error.problems
            continue
        say(f"{name} is valid")
        if options.explain:
            from netmon.config.words import sentences_of

            for sentence in (
                [f"{os.fspath(name)}:", *sentences_of(config)] if len(options.files) > 1 else sentences_of(config)
            ):
                show(sentence)
    if problems:
        raise ConfigError(problems)
    return EXIT_OK
