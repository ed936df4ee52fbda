"""`netmon replay`: the events of a recording, without a kernel."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say
from netmon.cli.flags import add_replay_flags
from netmon.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from netmon.cli.expectation import Expectation
    from netmon.filters.compiled import Watched
    from netmon.rules.events import JsonRules
    from netmon.terminal.view import View

STDOUT_FILENO = 1
CONNECTION_EVENT = '{"type":"NetworkEvent"'


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "replay",
        help="write the events of a recording (netmon run --record FILE)",
        description="Write the events of a recording again: in a pipe or file the same JSON as then, on a terminal "
        "lines. It needs neither rights nor a kernel of netmon's.",
    )
    parser.add_argument("file", metavar="FILE")
    add_replay_flags(parser)
    parser.set_defaults(command=replay)


def replay(options: argparse.Namespace) -> int:
    """Write the events. Raises ConfigError, OutputError, another NetmonError."""
    from netmon.cli.expectation import expectation_of
    from netmon.cli.recorded import chosen_events, open_recording
    from netmon.outputs.fanout import Fanout
    from netmon.outputs.standard_output import StandardOutput

    expectation = expectation_of(options)
    monitor, header = open_recording(options.file, argv=options.argv or options.format in SCHEMAS)
    recording = monitor.recording
    assert recording is not None
    view = _view_of(options, recording.filters.watched)
    passes = chosen_events(options, header)
    choose = _chooser(passes, _rules_of(options, expectation))
    mark = expectation.drift.mark if expectation is not None else None
    chosen = 0
    with Fanout([StandardOutput()], report=say) as output:
        try:
            with monitor:
                for lines in map(choose, monitor.json_lines()):
                    lines = mark(lines) if mark is not None else lines
                    chosen += sum(line.startswith(CONNECTION_EVENT) for line in lines)
                    output.write(lines if view is None else view.lines(lines))
        finally:  # what comes before a damage is shown, too
            if view is not None:
                output.write(view.finish())
    if view is not None and (summary := view.summary()):
        say("\n".join(summary))
    of = f"{chosen} of " if passes is not None else ""
    say(f"{of}{monitor.counters.connection_events} events, {monitor.losses.describe()}")
    if not recording.whole:
        say(f"{options.file} ends before the run did: it reached its limit, the disk was full, or netmon was killed")
    if expectation is None:
        return EXIT_OK
    expectation.report(monitor.losses)
    return expectation.code(monitor.losses)


def _rules_of(options: argparse.Namespace, expectation: Expectation | None) -> JsonRules | None:
    """Return the rules of the configuration, if it has any. Raises ConfigError."""
    if options.config is None:
        return None
    from netmon.config import Config  # it has been read for its filters, too

    config = Config.from_yaml(options.config)
    if not config.has_rules:
        return None
    from netmon.rules.events import JsonRules
    from netmon.rules.load import compile_rules

    if expectation is not None:
        expectation.check_rules(compile_rules(config))
    return JsonRules(config)


def _chooser(
    passes: Callable[[dict[str, Any]], bool] | None, rules: JsonRules | None
) -> Callable[[list[str]], list[str]]:
    """Return what leaves out the lines that do not pass, and names the rules of the others."""
    if passes is None:
        return lambda lines: lines
    from orjson import loads

    def choose(lines: list[str]) -> list[str]:
        pairs = [(line, event) for line in lines if passes(event := loads(line))]
        if rules is None:
            return [line for line, _ in pairs]
        return [ruled for line, event in pairs if (ruled := rules.line(line, event)) is not None]

    return choose


def _view_of(options: argparse.Namespace, watched: Watched) -> View | None:
    """Return the view that the flags and standard output ask for; None for JSON as it is. Raises ConfigError."""
    on_terminal = os.isatty(STDOUT_FILENO)
    if not on_terminal and options.format is options.fields is options.template is None:
        return None
    from netmon.cli.views import choose_format, make_view
    from netmon.schemas.host import Host

    name = choose_format(options, on_terminal=on_terminal)
    if name == "json" and options.fields is None:
        return None
    options.aggregate = None  # recordings have no aggregates
    # A recording does not tell which host it is of.
    return make_view(name, options, watched, on_terminal=on_terminal, host=Host())
