"""The netmon command: parses its arguments, calls one of its commands, and maps errors to exit codes.

Standard output carries results only (events, schemas, the table of `check`); everything else goes to standard error.
Each command imports what it needs when it is called, because users feel how long a start takes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

from netmon import __version__
from netmon.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from netmon.cli.console import describe, discard_results, discard_unwritable, flush_results, say
from netmon.errors import ConfigError, NetmonError, OutputError

COMMANDS = ("run", "exec", "ls", "check", "validate", "schema")  # each a module of netmon.cli
HELP_WIDTH = 80


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        return _main(arguments)
    finally:
        discard_unwritable()


def _main(arguments: Sequence[str] | None) -> int:
    if sys.stdout is None:
        say("standard output is closed")
        return EXIT_FAILED
    try:
        code = _call(arguments)
        flush_results()
    except OutputError as error:
        discard_results()
        # A reader that goes away has read what it wanted.
        return EXIT_OK if error.reader_gone else _fail(error, EXIT_FAILED)
    return code


def _call(arguments: Sequence[str] | None) -> int:
    """Call the command that the arguments name; return the exit code. Raises OutputError."""
    try:
        options = make_parser(sys.argv[1:] if arguments is None else arguments).parse_args(arguments)
        if os.environ.get("NETMON_ANY_KERNEL") == "1":
            options.any_kernel = True
        return int(options.command(options))
    except SystemExit as end:  # from argparse: --help, --version, bad usage
        return int(end.code or 0)
    except OutputError:
        raise
    except ConfigError as error:
        return _fail(error, EXIT_USAGE)
    except NetmonError as error:
        return _fail(error, EXIT_FAILED)
    except OSError as error:
        return _fail(describe(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _fail(error: object, code: int) -> int:
    say(error)
    return code


class _Formatter(argparse.HelpFormatter):
    """Leaves a text as it is that has lines of its own, such as examples; wraps all others."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """A parser with netmon's settings; the parsers of its commands have the same class."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each flag, and by default each one imports shutil, which is slow, to learn
        # the terminal's width.
        formatter = partial(_Formatter, width=HELP_WIDTH)
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)


def make_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser for these arguments: with the command that the first one names, or else with all commands."""
    parser = _Parser(
        prog="netmon",
        description="Report each TCP connection on this host with the process behind it, as JSON.",
    )
    parser.add_argument("--version", action="version", version=f"netmon {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in [name for name in COMMANDS if name in arguments[:1]] or COMMANDS:
        import_module(f"netmon.cli.{name}").add_parser(commands)
    return parser
