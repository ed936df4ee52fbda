"""`netmon replay`: the events of a recording, without a kernel."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say
from netmon.cli.flags import add_output_flags, flag_error
from netmon.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netmon.filters.compiled import Watched
    from netmon.recording.form import Header
    from netmon.terminal.view import View

STDOUT_FILENO = 1


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "replay",
        help="write the events of a recording (netmon run --record FILE)",
        description="Write the events of a recording again: in a pipe or file the same JSON as then, on a terminal "
        "lines. It needs neither rights nor a kernel of netmon's.",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--config", metavar="CONFIG", help="write only the events that this configuration lets pass")
    add_output_flags(parser, "on a terminal a line a connection; else JSON: the events that were recorded")
    parser.set_defaults(command=replay)


def replay(options: argparse.Namespace) -> int:
    """Write the events. Raises ConfigError, OutputError, another NetmonError."""
    from netmon.monitor import Monitor
    from netmon.outputs.fanout import Fanout
    from netmon.outputs.standard_output import StandardOutput

    monitor = Monitor.replay(options.file)
    recording = monitor.recording
    assert recording is not None
    view = _view_of(options, recording.filters.watched)
    choose = _filter_of(options, recording.header)
    with Fanout([StandardOutput()], report=say) as output:
        try:
            with monitor:
                for lines in map(choose, monitor.json_lines()):
                    output.write(lines if view is None else view.lines(lines))
        finally:  # what comes before a damage is shown, too
            if view is not None:
                output.write(view.finish())
    if view is not None and (summary := view.summary()):
        say("\n".join(summary))
    say(f"{monitor.counters.connection_events} events, {monitor.losses.describe()}")
    if not recording.whole:
        say(f"{options.file} ends before the run did: it reached its limit, the disk was full, or netmon was killed")
    return EXIT_OK


def _filter_of(options: argparse.Namespace, header: Header) -> Callable[[list[str]], list[str]]:
    """Return what leaves out the lines that the configuration does not let pass. Raises ConfigError."""
    if options.config is None:
        return lambda lines: lines
    from orjson import loads

    from netmon.config import Config
    from netmon.filters.events import EventFilter

    try:
        config = Config.from_yaml(options.config)
        judge = EventFilter(config, with_context=header.report.context)
    except ArgumentError as error:
        raise flag_error(error.name, error.reason) from None
    if not config.has_rules:
        return lambda lines: [line for line in lines if judge.passes(loads(line))]
    from netmon.rules.events import JsonRules

    rules = JsonRules(config)

    def choose(lines: list[str]) -> list[str]:
        pairs = [(line, event) for line in lines if judge.passes(event := loads(line))]
        return [ruled for line, event in pairs if (ruled := rules.line(line, event)) is not None]

    return choose


def _view_of(options: argparse.Namespace, watched: Watched) -> View | None:
    """Return the view that the flags and standard output ask for; None for JSON as it is. Raises ConfigError."""
    on_terminal = os.isatty(STDOUT_FILENO)
    if not on_terminal and options.format is options.fields is options.template is None:
        return None
    from netmon.cli.views import choose_format, make_view

    name = choose_format(options, on_terminal=on_terminal)
    if name == "json" and options.fields is None:
        return None
    options.aggregate = None  # recordings have no aggregates
    return make_view(name, options, watched, on_terminal=on_terminal)
