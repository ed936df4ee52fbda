"""`netmon run`: reports events until a signal ends it, or until its last output breaks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import say
from netmon.cli.flags import add_run_flags, config_of, flag_error
from netmon.errors import ArgumentError, OutputError, shown

if TYPE_CHECKING:
    from netmon.cli.confine import User
    from netmon.cli.session import Signals
    from netmon.losses import Losses
    from netmon.monitor import Counters
    from netmon.outputs.base import Output
    from netmon.reader.source import OpenSource

# The flags that are the Monitor's arguments, too.
MONITOR_FLAGS = ("any_kernel", "ring_size", "batch_delay", "line_limit", "aggregate", "lost_events")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run",
        help="watch connections; one JSON event a line on standard output",
        description="Watch TCP connections until SIGINT or SIGTERM (without --config SIGHUP, too): one JSON event a "
        "line on standard output. Without --config the flags below say what to report; without those, everything.",
    )
    parser.set_defaults(command=run)
    add_run_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; return EXIT_FAILED if the kernel did not run netmon's programs all the time.

    Raises ConfigError, OutputError, another NetmonError.
    """
    from netmon.cli.session import Signals

    signals = Signals(reloadable=options.config is not None)  # before the imports and the start, which take long
    from netmon.outputs.standard_output import StandardOutput

    losses = run_with([StandardOutput()], options, signals)
    return EXIT_FAILED if losses.blind_ms else EXIT_OK


def run_with(
    outputs: Sequence[Output], options: argparse.Namespace, signals: Signals, open_source: OpenSource | None = None
) -> Losses:
    """Report events to outputs until a signal, or until the last output breaks, and print the summary.

    Args:
        outputs: At least one, with different names.
        options: The parsed flags of `netmon run`.
        signals: The process's signal handlers.
        open_source: Opens the source of the records in place of the kernel's probes, for tests.

    Returns:
        What was lost.

    Raises:
        ConfigError: The configuration or a flag has problems.
        OutputError: The last output that was left has broken.
        NetmonError: The monitor cannot start, or fails.
    """
    from netmon.cli.session import Session
    from netmon.monitor import Monitor
    from netmon.outputs.fanout import Fanout

    user = _user_of(options)
    fanout = Fanout(outputs, report=say, ending=lambda: signals.stopped)
    config = config_of(options)
    given = {name: getattr(options, name) for name in MONITOR_FLAGS if getattr(options, name) is not None}
    if open_source is not None:
        given["open_source"] = open_source
    try:
        monitor = Monitor(config, output_losses=fanout.losses, **given)
    except ArgumentError as error:  # the flag of the same name
        raise flag_error(error.name, error.reason) from None
    session = Session(monitor, signals, options.config, lambda: config_of(options))
    broken: list[OutputError] = []

    def deliver(lines: list[str]) -> None:
        try:
            fanout.write(lines)
        except OutputError as error:
            if _ends_quietly(error, outputs):
                raise
            broken.append(error)
            monitor.stop()  # what has been reported by then is still decoded, and counted as lost

    def begin() -> None:
        if options.confine:
            from netmon.cli.confine import confine

            maps = options.config is not None or options.aggregate is not None
            confine(monitor.program_infos, makes_maps=maps, config_file=options.config, user=user)
        writing.enter_context(fanout)  # its threads inherit the rights

    try:
        with ExitStack() as writing:
            session.run(deliver, begin)
    except OutputError as error:
        broken.append(error)
    losses = monitor.losses
    if not (broken and _ends_quietly(broken[0], outputs)):
        say(_summary(monitor.counters, losses))
    if broken:
        raise broken[0]
    return losses


def _user_of(options: argparse.Namespace) -> User | None:
    """Return the user to become, if one is asked for. Raises ConfigError."""
    if options.user is None:
        return None
    if not options.confine:
        raise flag_error("user", "cannot be combined with --no-confine; leave one or the other out")
    from netmon.cli.confine import find_user

    try:
        return find_user(options.user)
    except KeyError:
        raise flag_error("user", f"there is no user {shown(options.user)}; give a name or a number") from None


def _ends_quietly(error: OutputError, outputs: Sequence[Output]) -> bool:
    """Return whether the only output's reader has gone away: it has read what it wanted."""
    return error.reader_gone and len(outputs) == 1


def _summary(counters: Counters, losses: Losses) -> str:
    count = counters.connection_events + counters.summaries
    reasons = ", ".join(f"{'at most ' * (name == 'missed')}{value} {name}" for name, value in losses.reasons() if value)
    by_output = "".join(f", {lost} not written to {name}" for name, lost in losses.outputs.items())
    by_offender = "".join(f", {count} records of {name} refused" for name, count in losses.top_offenders().items())
    blind = f", blind for {losses.blind_ms / 1000:.1f} s" if losses.blind_ms else ""
    return (
        f"{count} events, {losses.total} lost" + (f" ({reasons})" if reasons else "") + by_offender + blind + by_output
    )
