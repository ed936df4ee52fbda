"""`netmon run`: reports events until a signal ends it, or until its last output breaks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_OK
from netmon.cli.console import say
from netmon.cli.flags import add_run_flags, config_of, flag_error
from netmon.errors import ArgumentError, OutputError

if TYPE_CHECKING:
    from netmon.losses import Losses

# The flags that are the Monitor's arguments, too.
MONITOR_FLAGS = ("any_kernel", "ring_size", "batch_delay", "aggregate", "lost_events")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run",
        help="watch connections; one JSON event a line on standard output",
        description="Watch TCP connections until SIGINT or SIGTERM: one JSON event a line on standard output. "
        "Without --config the flags below say what to report; without those, everything.",
    )
    parser.set_defaults(command=run)
    add_run_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM. Raises ConfigError, OutputError, another NetmonError."""
    from netmon.cli.session import Session, Signals

    signals = Signals()  # before the imports and the start, which take long
    from netmon.monitor import Monitor
    from netmon.outputs.fanout import Fanout
    from netmon.outputs.standard_output import StandardOutput

    outputs = [StandardOutput()]
    fanout = Fanout(outputs, report=say)
    config = config_of(options)
    given = {name: getattr(options, name) for name in MONITOR_FLAGS if getattr(options, name) is not None}
    try:
        monitor = Monitor(config, output_losses=fanout.losses, **given)
    except ArgumentError as error:  # the flag of the same name
        raise flag_error(error.name, error.reason) from None
    session = Session(monitor, signals, options.config, lambda: config_of(options))
    try:
        with fanout:
            session.run(fanout.write)
    except OutputError:
        if len(outputs) > 1:
            say(_summary(session.events, monitor.losses))
        raise
    say(_summary(session.events, monitor.losses))
    return EXIT_OK


def _summary(count: int, losses: Losses) -> str:
    reasons = ", ".join(f"{'at most ' * (name == 'missed')}{value} {name}" for name, value in losses.reasons() if value)
    by_output = "".join(f", {count} not written to {name}" for name, count in losses.outputs.items())
    return f"{count} events, {losses.total} lost" + (f" ({reasons})" if reasons else "") + by_output
