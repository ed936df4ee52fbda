"""`netmon run`: reports events until a signal ends it, or until its last output breaks."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import ERROR, WARNING, say
from netmon.cli.flags import add_run_flags, config_of, flag_error, writes_to_stdout
from netmon.errors import ArgumentError, NetmonError, OutputError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from netmon.cli.confine import User
    from netmon.cli.expectation import Expectation
    from netmon.cli.run_control import RunControl
    from netmon.cli.session import Ending, Session
    from netmon.filters.compiled import CompiledFilters, Watched
    from netmon.losses import Losses
    from netmon.monitor import Monitor
    from netmon.outputs.base import Output
    from netmon.outputs.fanout import Fanout
    from netmon.outputs.opened import Outputs
    from netmon.reader.source import OpenSource
    from netmon.terminal.view import View

    MakeView = Callable[[Watched], View | None]
    OpenOutputs = Callable[[User | None], Outputs]

STDOUT_FILENO = 1
# The flags that are the Monitor's arguments, too.
MONITOR_FLAGS = (
    "any_kernel",
    "ring_size",
    "batch_delay",
    "line_limit",
    "aggregate",
    "lost_events",
    "argv",
    "record",
    "record_limit",
)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run",
        help="watch connections; a line each on a terminal, else one JSON event a line",
        usage="netmon run [--config FILE] [flag ...]",
        description="Watch TCP connections until SIGINT or SIGTERM (without --config SIGHUP, too). On a terminal each "
        "is a line for people; in a pipe or file each event is a line of JSON. Flags, a file, or both say what to "
        "report; without either, everything.",
    )
    parser.set_defaults(command=run)
    add_run_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; return EXIT_FAILED if the kernel did not run netmon's programs all the time.

    Raises ConfigError, OutputError, another NetmonError.
    """
    from netmon.cli.session import Signals

    # For containers. A flag wins over the environment, and that over the file.
    if options.expect is None:
        options.config = options.config or os.environ.get("NETMON_CONFIG") or None
    options.control = options.control or os.environ.get("NETMON_CONTROL") or None
    expectation = _expectation_of(options)
    signals = Signals(reloadable=options.config is not None)  # before the imports and the start, which take long

    if options.record is not None or options.outputs is not None:
        from netmon.cli.new_files import refuse_impossible_files  # seldom needed

        refuse_impossible_files(options)
    from netmon.outputs.standard_output import StandardOutput

    def open_them(user: User | None) -> Outputs:
        from netmon.outputs.opened import Outputs

        if options.outputs is None:
            return Outputs([StandardOutput()])
        from netmon.cli.outputs import open_outputs  # standard output alone does not need it

        return open_outputs(options, user, partial(setattr, signals, "reopen"))

    outputs = open_them if options.outputs is not None or options.config is not None else [StandardOutput()]
    losses = run_with(
        outputs, options, signals, make_view=view_maker(options), ready=_ready(options), expectation=expectation
    )
    if expectation is not None:
        expectation.report(losses)
        if code := expectation.code(losses):
            return code
    return EXIT_FAILED if losses.blind_ms else EXIT_OK


def _expectation_of(options: argparse.Namespace) -> Expectation | None:
    if options.expect is None:
        return None
    from netmon.cli.expectation import expectation_of  # few runs have one

    return expectation_of(options)


def view_maker(options: argparse.Namespace) -> MakeView:
    """Return what makes the view that flags, file and standard output ask for. Raises ConfigError, as that does."""
    if options.config is not None:  # it may say how events are written
        return lambda watched: _choose_view(options)(watched)
    return _choose_view(options)


def _choose_view(options: argparse.Namespace) -> MakeView:
    if options.outputs is not None:
        from netmon.schemas import SCHEMAS

        if not writes_to_stdout(options) or options.format in SCHEMAS:
            return _no_view  # each output has its own format, or none shows one
    on_terminal = os.isatty(STDOUT_FILENO)
    if not on_terminal and options.format is options.fields is options.template is None:
        return _no_view
    from netmon.cli.views import prepare_view  # JSON lines do not need it

    return prepare_view(options, on_terminal=on_terminal)


def _ready(options: argparse.Namespace) -> Callable[[], None]:
    """Return what says that netmon is ready, and which flags may match nothing: looked up now, with all rights."""
    if not (options.name or options.dst_port):
        return lambda: say("ready")
    from netmon.cli.hints import hints

    text = "\n".join(["ready", *hints(options)])
    return lambda: say(text)


def _no_view(_watched: Watched) -> None:
    return None


def run_with(
    outputs: Sequence[Output] | OpenOutputs,
    options: argparse.Namespace,
    signals: Ending,
    open_source: OpenSource | None = None,
    make_view: MakeView = _no_view,
    ready: Callable[[], None] = lambda: say("ready"),
    expectation: Expectation | None = None,
) -> Losses:
    """Report events to outputs until a signal, or until the last output breaks, and print the summary.

    Args:
        outputs: At least one, with different names; or opens them, once the configuration is read.
        options: The parsed flags of `netmon run`.
        signals: The process's signal handlers, or what else ends the run.
        open_source: Opens the source of the records in place of the kernel's probes, for tests.
        make_view: Makes the view of the events, once the configuration is read. None writes the lines of JSON.
        ready: Is called when the monitor is attached and has given up its rights.
        expectation: What the configuration expects, if it is an expectation.

    Returns:
        What was lost.

    Raises:
        ConfigError: The configuration or a flag has problems.
        OutputError: The last output that was left has broken.
        NetmonError: The monitor cannot start, or fails.
    """
    gc.disable()  # what a start makes stays: looking through it for garbage would take a tenth of the start
    try:
        return _run_with(outputs, options, signals, open_source, make_view, ready, expectation)
    finally:
        gc.enable()


def _run_with(
    outputs: Sequence[Output] | OpenOutputs,
    options: argparse.Namespace,
    signals: Ending,
    open_source: OpenSource | None,
    make_view: MakeView,
    ready: Callable[[], None],
    expectation: Expectation | None,
) -> Losses:
    """Do what run_with() does; turn the collection of garbage on once the start is over."""
    filters_of = _begin_checked(options, expectation)
    from netmon.cli.session import Session, digest_of  # these are imported while a file is read
    from netmon.monitor import Monitor
    from netmon.outputs.base import Output
    from netmon.outputs.fanout import Fanout
    from netmon.outputs.opened import Outputs

    if options.config is not None and open_source is None:
        _prepare_loading()
    filters = filters_of()  # sets flags, too
    user = user_of(options)
    opened = outputs(user) if callable(outputs) else Outputs(outputs)
    view = make_view(filters.watched)
    for output in opened.opened:
        if isinstance(output, Output) and output.shows_view:
            output.view = view
    fanout = Fanout(
        opened.opened, report=partial(say, priority=ERROR), ending=lambda: signals.stopped, note=opened.note
    )
    given = {name: getattr(options, name) for name in MONITOR_FLAGS if getattr(options, name) is not None}
    if open_source is not None:
        given["open_source"] = open_source
    try:
        monitor = Monitor(filters, output_losses=fanout.losses, **given)
    except ArgumentError as error:  # the flag of the same name
        raise flag_error(error.name, error.reason) from None
    session = Session(
        monitor, signals, options.config, lambda: _begin_checked(options, expectation)(), digest_of(filters)
    )
    control = _open_control(options, user, monitor, session, fanout)
    broken: list[OutputError] = []

    def write(lines: list[str]) -> None:
        try:
            fanout.write(lines if expectation is None else expectation.drift.mark(lines))
        except OutputError as error:
            if _ends_quietly(error, opened):
                raise
            broken.append(error)
            monitor.stop()  # what has been reported by then is still decoded, and counted as lost

    def finish() -> None:
        try:
            fanout.finish_views()
        except OutputError as error:
            broken.append(error)

    said = ""

    def deliver(lines: list[str]) -> None:
        nonlocal said
        write(lines)
        if control is not None and control.counts is not None:
            control.counts.add(lines)
        if (problem := monitor.record_problem) != said:
            said = problem
            say(f"{problem}; goes on without the recording", WARNING)

    def begin() -> None:
        if options.confine:
            from netmon.cli.confine import confine

            maps = options.config is not None or options.aggregate is not None
            confine(
                monitor.program_infos,
                makes_maps=maps,
                config_file=options.config,
                user=user,
                directories=opened.directories,
                reads=_read_later(filters.watched),
            )
            opened.begin()
        writing.enter_context(fanout)  # its threads inherit the rights
        if control is not None:
            control.start()
        gc.enable()

    try:
        with ExitStack() as writing:
            session.run(deliver, begin, ready)
            if view is not None:
                finish()
    except OutputError as error:
        broken.append(error)
    losses = monitor.losses
    if not (broken and _ends_quietly(broken[0], opened)):
        if view is not None:
            say("\n".join(view.summary()))
        counters = monitor.counters
        say(f"{counters.connection_events + counters.summaries} events, {losses.describe()}")
        if counts := monitor.rule_counts:
            from netmon.cli.rule_counts import describe_counts

            say(describe_counts(counts))
    if broken:
        raise broken[0]
    return losses


def _open_control(
    options: argparse.Namespace, user: User | None, monitor: Monitor, session: Session, fanout: Fanout
) -> RunControl | None:
    """Open the control socket, if there is to be one. Raises ConfigError, NetmonError."""
    if options.control is None:
        for name in ("control_group", "metrics"):
            if getattr(options, name):
                raise flag_error(name, "goes with --control, or it has nobody to serve")
        return None
    from netmon.cli.run_control import RunControl

    control = RunControl(options, monitor, session, fanout)
    if user is not None:
        control.give_to(user)
    return control


def _read_later(watched: Watched) -> list[str]:
    """Return the directories in which a run reads how containers are called."""
    if not watched.report.workload:
        return []
    from netmon.kernel.runtime_files import directories

    return directories()


def _prepare_loading() -> None:
    """Do what loading takes whatever the configuration says, while that is being read; errors come later."""
    from netmon.kernel import features, libbpf

    features.read_ahead()
    with suppress(NetmonError):
        libbpf.library()


def _begin_checked(options: argparse.Namespace, expectation: Expectation | None) -> Callable[[], CompiledFilters]:
    """Do what begin_reading() does, and check that the file can be an expectation, if it is one."""
    filters_of = begin_reading(options)
    return filters_of if expectation is None else lambda: expectation.check(filters_of())


def begin_reading(options: argparse.Namespace) -> Callable[[], CompiledFilters]:
    """Begin to read the configuration; return a function that gives its filters, and raises what is wrong with it.

    A file is read in a process of its own, which goes on while this one imports what it needs.

    That function also sets the flags that are not given to the file's settings. Raises ConfigError, NetmonError.
    """
    if options.config is not None:
        from netmon.cli.file_settings import begin_reading_file

        return begin_reading_file(options)
    config = config_of(options)
    from netmon.filters.compile import compile_filters

    return lambda: compile_filters(config).for_good()  # without a file there is nothing to reload


def user_of(options: argparse.Namespace) -> User | None:
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


def _ends_quietly(error: OutputError, outputs: Outputs) -> bool:
    """Return whether the only output's reader has gone away: it has read what it wanted."""
    return error.reader_gone and len(outputs.opened) == 1
