"""`netmon help`: topics that the flags' help has no room for."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_OK
from netmon.cli.console import show
from netmon.cli.flag_names import FlagError
from netmon.errors import Problem, shown
from netmon.nearest import remedy


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    topics = "filters, events, fields, config, outputs, rules, exit-codes"
    parser = commands.add_parser("help", help=f"explain a topic: {topics}")
    parser.add_argument("topic", nargs="*", metavar="TOPIC")
    parser.set_defaults(command=explain)


def explain(options: argparse.Namespace) -> int:
    """Print a topic, or a command's help; without one, the list of topics. Raises ConfigError."""
    from netmon.cli.main import COMMANDS, main
    from netmon.cli.topics import TOPICS

    topic = "-".join(options.topic)
    if not topic:
        rows = [f"  netmon help {name:<12}{summary}" for name, (summary, _) in TOPICS.items()]
        show("\n".join([*rows, "  netmon help COMMAND     the flags of a command"]))
        return EXIT_OK
    if topic in TOPICS:  # before the command `rules`
        show(TOPICS[topic][1]())
    elif topic in COMMANDS:
        return main([topic, "--help"])
    else:
        meant = remedy(topic, [*TOPICS, *COMMANDS], f"the topics are {', '.join(TOPICS)}")
        raise FlagError([Problem("command line", None, (), None, f"{shown(topic)}: no such topic; {meant}")])
    return EXIT_OK
