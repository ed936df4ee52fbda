"""The netmon command: parses, calls, reports, and maps errors to exit codes.

Standard output carries results only (events, schemas, the check's table); everything else goes to standard error.
Exit codes: 0 fine, 1 failed while running, 2 bad usage or configuration. A command imports what it needs itself:
start-up is felt.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from netmon import __version__
from netmon.cli.console import say
from netmon.cli.flags import add_run_flags
from netmon.errors import ConfigError, NetmonError

HELP_WIDTH = 80

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    if sys.stdout is None:
        say("standard output is closed")
        return EXIT_FAILED
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except OSError as error:  # of standard output: commands have dealt with all else
        # Python must not try to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return (
            EXIT_OK if isinstance(error, BrokenPipeError) else _fail(f"standard output: {error.strerror}", EXIT_FAILED)
        )
    return code


def _dispatch(arguments: Sequence[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
        return int(options.command(options))
    except SystemExit as end:  # argparse's: --help, --version, bad usage
        return int(end.code or 0)
    except ConfigError as error:
        return _fail(error, EXIT_USAGE)
    except NetmonError as error:
        return _fail(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _fail(error: object, code: int) -> int:
    say(error)
    return code


def _run(options: argparse.Namespace) -> int:
    from netmon.cli.run import run

    options.any_kernel = _any_kernel(options)
    run(options)
    return EXIT_OK


def _any_kernel(options: argparse.Namespace) -> bool:
    return options.any_kernel or os.environ.get("NETMON_ANY_KERNEL") == "1"


def _check(options: argparse.Namespace) -> int:
    from netmon.kernel.requirements import check_host

    needs = check_host(any_kernel=_any_kernel(options))
    for need in needs:
        print(f"{'ok' if need.ok else 'FAIL':<5}{need.name}: {need.detail}")
        if not need.ok and need.remedy:
            print(f"     {need.remedy}")
    return EXIT_OK if all(need.ok for need in needs) else EXIT_FAILED


def _validate(options: argparse.Namespace) -> int:
    from netmon.config import Config

    Config.from_yaml(options.file)
    say(f"{options.file} is valid")
    return EXIT_OK


def _schema(options: argparse.Namespace) -> int:
    import json

    from netmon.config import config_schema
    from netmon.events import event_schema

    schema = event_schema() if options.of == "event" else config_schema()
    print(json.dumps(schema, indent=2))
    return EXIT_OK


class _Parser(argparse.ArgumentParser):
    """One with our choices, which its subparsers inherit."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each flag, and asks shutil, which is slow to import, how wide a terminal is.
        formatter = partial(argparse.HelpFormatter, width=HELP_WIDTH)
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="netmon",
        description="Report each TCP connection on this host with the process behind it, as JSON.",
    )
    parser.add_argument("--version", action="version", version=f"netmon {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    check = commands.add_parser("check", help="say whether this host can run netmon, and what it lacks")
    check.add_argument("--any-kernel", action="store_true", help="accept kernels older than 6.2")
    check.set_defaults(command=_check)
    validate = commands.add_parser("validate", help="check a configuration file")
    validate.add_argument("file", metavar="FILE")
    validate.set_defaults(command=_validate)
    schema = commands.add_parser("schema", help="print the JSON Schema of the events or of the configuration")
    schema.add_argument("of", choices=("event", "config"))
    schema.set_defaults(command=_schema)
    return parser


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    run = commands.add_parser(
        "run",
        help="watch connections; one JSON event a line on standard output",
        description="Watch TCP connections until SIGINT or SIGTERM: one JSON event a line on standard output. "
        "Without --config the flags below say what to report; without those, everything.",
    )
    run.set_defaults(command=_run)
    add_run_flags(run)
