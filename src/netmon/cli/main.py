"""The netmon command: parses its arguments, calls one of its commands, and maps errors to exit codes.

Standard output carries results only (events, schemas, the table of `check`); everything else goes to standard error.
Each command imports what it needs when it is called, because users feel how long a start takes.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

from netmon import __version__
from netmon.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from netmon.cli.console import ERROR, describe, discard_results, discard_unwritable, flush_results, say, say_help
from netmon.errors import ConfigError, NetmonError, OutputError

# Each is a module of netmon.cli.
COMMANDS = (
    "run",
    "exec",
    "ls",
    "top",
    "learn",
    "replay",
    "status",
    "reload",
    "metrics",
    "forward",
    "check",
    "validate",
    "rules",
    "schema",
    "help",
)
HELP_WIDTH = 80
# What `netmon`, and the help of a command, end with.
EXAMPLES = {
    "": """
examples:
  netmon run                                  each connection of this host, a line
  netmon run --name curl --peer 10.0.0.0/8    those of curl with one network
  netmon exec -- curl https://example.com/    those of one command

`netmon help` lists topics; `netmon COMMAND --help` has the flags of a command.
""",
    "run": """
examples:
  netmon run --peer 10.1.2.3                  who connects to 10.1.2.3, or from there?
  netmon run --ingress --local-port 80,443    who uses the web server?
  netmon run --failures --uid alice           which attempts of alice's fail?
  netmon run --local 10.0.0.5 --peer 10.1.0.0/16 --existing
  netmon run --config netmon.yaml --format json --statistics

`netmon help filters` explains how flags are combined.
""",
    "exec": """
examples:
  netmon exec -- curl https://example.com/
  netmon exec --report table -- make -j8
  netmon exec --report rules --output expected.yaml -- make
  netmon exec --expect expected.yaml -- make
""",
    "forward": """
examples:
  netmon run --output unix:/run/netmon/events.sock &
  netmon forward --to https://collector.example:4318 --spool /var/spool/netmon
  netmon replay FILE | netmon forward --from - --to http://localhost:4318
""",
    "ls": """
examples:
  netmon ls                               all connections
  netmon ls --sort bytes                  those that have carried most first
  netmon ls --peer-port 5432 --sort idle  clients of PostgreSQL, the idlest first
  netmon ls --tree 4711 --format json     those of a process and its descendants
""",
    "learn": """
examples:
  netmon learn --for 1h > expected.yaml       what does this host do?
  netmon run --expect expected.yaml           what does it do beyond that?
  netmon learn --from events.json             of lines that netmon run has written
""",
    "status": """
examples:
  netmon status                         the service, or a run with --control
  netmon status --format json | jq .losses.total
  netmon status --ready                 nothing but the exit code, for a probe
""",
    "metrics": """
examples:
  netmon metrics                                          to standard output
  netmon metrics --textfile /var/lib/prometheus/node-exporter/netmon.prom
  netmon metrics --listen 127.0.0.1:9464                  for Prometheus
""",
    "top": """
examples:
  netmon top                                  the view; its keys are at the bottom
  netmon top --by peer --sort failures        which peers are not reached?
  netmon top --once --format json | jq .      what happens in two seconds
  netmon top --replay FILE                    what netmon run --record has recorded
""",
}


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
        options = _parse(sys.argv[1:] if arguments is None else arguments)
        if os.environ.get("NETMON_ANY_KERNEL") == "1":
            options.any_kernel = True
            options.given = {*getattr(options, "given", ()), "any_kernel"}
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


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments. Raises SystemExit, after a message, if they are wrong or ask for help."""
    parser = make_parser(arguments)
    if not arguments:
        say_help(parser.format_help())
        parser.exit(EXIT_USAGE)
    if arguments[0] not in COMMANDS and not arguments[0].startswith("-"):
        from netmon.cli.mistakes import unknown_command

        parser.error(unknown_command(arguments[0], COMMANDS))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        from netmon.cli.mistakes import unknown_argument

        used = options.parser if "parser" in options else parser
        used.error(unknown_argument(arguments[0], unknown[0], used._option_string_actions, _flags_of_commands))
    return options


def _flags_of_commands() -> dict[str, list[str]]:
    """Return all flags of each command, by its name."""
    parser = _make_parser(COMMANDS)
    return {name: [*command._option_string_actions] for name, command in parser.commands.items()}


def _fail(error: object, code: int) -> int:
    say(error, ERROR)
    return code


class _Parser(argparse.ArgumentParser):
    """A parser with netmon's settings; the parsers of its commands have the same class."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each flag, and by default each one imports shutil, which is slow, to learn
        # the terminal's width.
        formatter = partial(argparse.HelpFormatter, width=HELP_WIDTH)
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)
        self.examples = ""
        self.commands: dict[str, argparse.ArgumentParser] = {}
        self.usage_code = EXIT_USAGE

    def format_help(self) -> str:
        """Return the help, with examples at its end."""
        return super().format_help() + self.examples

    def error(self, message: str) -> NoReturn:
        """Print one line that says what is wrong, and exit."""
        message = re.sub("^argument ([^:]+): expected one argument$", r"\1: needs a value", message)
        say(message.removeprefix("argument "))
        self.exit(self.usage_code)


def make_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser for these arguments: with the command that the first one names, or else with all commands."""
    return _make_parser([name for name in COMMANDS if name in arguments[:1]] or COMMANDS)


def _make_parser(names: Sequence[str]) -> _Parser:
    """Return a parser with these commands."""
    parser = _Parser(
        prog="netmon",
        description="Report each TCP connection on this host with the process behind it.",
    )
    parser.add_argument("--version", action="version", version=f"netmon {__version__}")
    parser.examples = EXAMPLES[""]
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        import_module(f"netmon.cli.{name}").add_parser(commands)
        command = commands.choices[name]
        command.examples = EXAMPLES.get(name, "")
        command.set_defaults(parser=command)
        parser.commands[name] = command
    return parser
