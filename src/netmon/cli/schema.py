"""`netmon schema`: the JSON Schema of the events or of the configuration."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_OK
from netmon.cli.console import show


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("schema", help="print the JSON Schema of the events or of the configuration")
    parser.add_argument("of", choices=("event", "config"), metavar="WHAT", help="event or config")
    parser.set_defaults(command=schema)


def schema(options: argparse.Namespace) -> int:
    """Print the schema."""
    import json

    from netmon.config import config_schema  # slow to import
    from netmon.events import event_schema

    show(json.dumps(event_schema() if options.of == "event" else config_schema(), indent=2))
    return EXIT_OK
