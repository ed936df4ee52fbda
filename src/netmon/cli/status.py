"""`netmon status`: how a netmon that runs fares."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import say, show
from netmon.cli.flags import add_socket_flag, socket_of
from netmon.errors import NetmonError, shown
from netmon.text import escape_for_terminal


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "status",
        help="say how a netmon that runs fares: events, losses, outputs, configuration",
        description="Ask a netmon that runs, the service or one with --control, how it fares.",
    )
    add_socket_flag(parser)
    parser.add_argument("--format", choices=("text", "json"), metavar="FORMAT", default="text", help="text or json")
    probe = parser.add_mutually_exclusive_group()
    probe.add_argument("--live", action="store_true", help="nothing but the exit code: 0 if reading is not held up")
    probe.add_argument(
        "--ready", action="store_true", help="nothing but the exit code: 0 if it is live, and the kernel runs it"
    )
    parser.set_defaults(command=status)


def status(options: argparse.Namespace) -> int:
    """Print the status; return EXIT_FAILED if a probe fails. Raises NetmonError if nobody answers."""
    from netmon.control.protocol import ask

    answer = ask(socket_of(options), "status")
    for name in ("live", "ready"):
        if getattr(options, name):
            if answer.get(name) is True:
                return EXIT_OK
            say("; ".join([f"not {name}", *map(str, answer.get("problems", ()))]))
            return EXIT_FAILED
    if options.format == "json":
        import json

        show(json.dumps(answer, indent=2))
        return EXIT_OK
    from netmon.control.words import lines_of

    try:
        lines = [escape_for_terminal(line) for line in lines_of(answer)]
    except (KeyError, TypeError, AttributeError):
        version = shown(str(answer.get("version")))
        raise NetmonError(f"that netmon is of another version ({version}): see --format json") from None
    for line in lines:
        show(line)
    return EXIT_OK
