"""`netmon reload`: makes a netmon that runs read its configuration again, and says whether that worked."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say
from netmon.cli.flags import add_socket_flag, socket_of
from netmon.errors import shown

ANSWER_LIMIT = 80.0  # seconds: more than netmon itself waits for the file


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "reload",
        help="make a netmon that runs read its configuration again, and say whether that worked",
        description="Make a netmon that runs, the service or one with --control, read its configuration again. If the "
        "file cannot be used, netmon goes on as before; that is an error here, with the reason.",
    )
    add_socket_flag(parser)
    parser.set_defaults(command=reload)


def reload(options: argparse.Namespace) -> int:
    """Reload. Raises NetmonError with the reason why the previous configuration stays in force."""
    from netmon.control.protocol import ask

    configuration = ask(socket_of(options), "reload", ANSWER_LIMIT).get("configuration", {})
    file, generation = shown(str(configuration.get("file"))), configuration.get("generation")
    say(f"reloaded {file}, sha256 {configuration.get('sha256')}, generation {generation}")
    return EXIT_OK
