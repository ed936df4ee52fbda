"""`netmon top`: who connects where, how often and how much, as it changes."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import flush_results, say, show_lines
from netmon.cli.flags import add_top_flags, flag_error
from netmon.errors import ArgumentError, NetmonError, shown
from netmon.nearest import remedy

if TYPE_CHECKING:
    from netmon.filters.compiled import Watched
    from netmon.top.columns import Presenter
    from netmon.top.feed import Feed
    from netmon.top.order import Choice

STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO = range(3)
USUAL_WIDTH = 120  # cells of a table that is written to no terminal
EXTRA = "netmon-bpf[top]"
# The flags that are the Monitor's arguments, too.
MONITOR_FLAGS = ("any_kernel", "ring_size", "record", "record_limit")
OF_WATCHING = ("record", "record_limit", "ring_size", "user")
FORMATS = ("line", "json")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "top",
        help="show who connects where, how often and how much, as it changes",
        description="Show on a terminal, and update, which processes, peers, ports and containers connect, fail and "
        "carry most. All connections count, however short. The bytes of open connections are sampled at the end of "
        f"each interval. The view needs textual (pip install '{EXTRA}'); --once, -n, --format and a pipe do not.",
    )
    parser.set_defaults(command=top)
    add_top_flags(parser)


def top(options: argparse.Namespace) -> int:
    """Show the view, or write snapshots; return an exit code as of `netmon run`.

    Raises ConfigError, OutputError, another NetmonError.
    """
    from netmon.cli.new_files import refuse_impossible_files

    refuse_impossible_files(options)
    choice = _choice_of(options)
    for_scripts = _is_for_scripts(options)
    if not for_scripts:
        _require_view()
    with ExitStack() as resources:
        open_feed = _replay if options.replay is not None else _watch
        feed, watched = open_feed(options, resources, for_scripts)
        if for_scripts:
            say("ready")
            _write_snapshots(options, feed, watched, choice)
        else:
            _show(options, feed, watched, choice)
        say(feed.summary())
        return EXIT_FAILED if feed.was_blind() else EXIT_OK


def _is_for_scripts(options: argparse.Namespace) -> bool:
    """Return whether to write snapshots. Sets their format."""
    if options.format is not None and options.format not in FORMATS:
        raise flag_error("format", f"{shown(options.format)} is no format of netmon top; give {' or '.join(FORMATS)}")
    on_terminal = os.isatty(STDOUT_FILENO)
    for_scripts = options.count is not None or options.format is not None or not on_terminal
    if options.format is None:
        options.format = "line" if on_terminal else "json"
    return for_scripts or not os.isatty(STDIN_FILENO)


def _require_view() -> None:
    """Check that there can be a view, and import what it needs. Raises NetmonError."""
    other = "netmon top --once, or netmon top --format line"
    if not os.isatty(STDERR_FILENO):
        raise NetmonError(f"the view is drawn on standard error, which is no terminal: leave 2> out, or use {other}")
    if os.environ.get("TERM", "dumb") == "dumb":
        raise NetmonError(f"this terminal (TERM is dumb or not set) cannot show the view; use {other}")
    try:
        import netmon.top.app  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise NetmonError(
            f"the view needs textual, which is not installed: pip install '{EXTRA}'\nwithout it: {other}"
        ) from None


def _choice_of(options: argparse.Namespace) -> Choice:
    """Return what is to be seen. Raises ConfigError."""
    from netmon.top.order import SORT_KEYS, VIEWS, Choice, read_words

    for name, known, what in (("by", VIEWS, "no view"), ("sort", tuple(SORT_KEYS), "nothing to sort by")):
        value = getattr(options, name)
        if value not in known:
            meant = remedy(value, known, f"give one of {', '.join(known)}")
            raise flag_error(name, f"{shown(value)} is {what}; {meant}")
    return Choice(options.by, options.sort, options.reverse, read_words(options.filter))


def _watch(options: argparse.Namespace, resources: ExitStack, for_scripts: bool) -> tuple[Feed, Watched]:
    """Start to watch, and give up the rights that are not needed any more. Raises NetmonError."""
    from netmon.cli.run import begin_reading, user_of
    from netmon.kernel.running import running
    from netmon.monitor import Monitor
    from netmon.top.counts import Top
    from netmon.top.feed import LiveFeed

    signals = _signals() if for_scripts else None
    options.statistics = options.existing = options.parent = True
    options.outcome = options.egress or not options.ingress
    options.progress = options.interval
    filters = begin_reading(options)()
    user = user_of(options)
    given = {name: getattr(options, name) for name in MONITOR_FLAGS if getattr(options, name) is not None}
    try:
        monitor = Monitor(filters, **given)
    except ArgumentError as error:  # the flag of the same name
        raise flag_error(error.name, error.reason) from None
    if signals is not None:
        signals.bind(monitor)
    resources.enter_context(monitor)
    if options.confine:
        from netmon.cli.confine import confine

        # Before there are threads, which inherit the rights.
        confine(monitor.program_infos, makes_maps=False, config_file=None, user=user)
    runs = running()
    is_running = (lambda who: runs(who.pid, who.start_time)) if runs is not None else None
    return LiveFeed(monitor, options.interval, Top(time.monotonic(), is_running), options.count), filters.watched


def _signals() -> Any:
    from netmon.cli.session import Signals

    return Signals(reloadable=False)


def _replay(options: argparse.Namespace, resources: ExitStack, for_scripts: bool) -> tuple[Feed, Watched]:
    """Open a recording. Raises ConfigError, another NetmonError."""
    from netmon.cli.recorded import chosen_events, open_recording
    from netmon.top.counts import Top
    from netmon.top.feed import ReplayFeed

    for name in OF_WATCHING:
        if getattr(options, name) is not None:
            raise flag_error(name, "has no effect on --replay, which watches nothing; leave one or the other out")
    monitor, header = open_recording(options.replay)
    recording = monitor.recording
    assert recording is not None
    passes = chosen_events(options, header)
    resources.enter_context(monitor)
    feed = ReplayFeed(monitor, options.interval, Top(0.0), options.count, passes, paced=not for_scripts)
    return feed, recording.filters.watched


def _write_snapshots(options: argparse.Namespace, feed: Feed, watched: Watched, choice: Choice) -> None:
    """Write a snapshot after each interval. Raises OutputError, NetmonError."""
    from netmon.cli.views import terminal_width
    from netmon.top.feed import NO_LOCK
    from netmon.top.snapshot import snapshot_json, snapshot_text

    presenter, known = _presenter(watched), _known_keys(watched)

    def write(timestamp: str) -> None:
        if options.format == "json":
            lines = [snapshot_json(feed.top, choice, timestamp, options.rows, known)]
        else:
            width = terminal_width(STDOUT_FILENO) or USUAL_WIDTH
            lines = snapshot_text(feed.top, choice, presenter, width, options.rows)
        show_lines(lines)
        flush_results()

    feed.run(write, NO_LOCK)
    if feed.status and options.replay is None:
        say(feed.status)


def _known_keys(watched: Watched) -> frozenset[str]:
    """Return which counts the events tell."""
    from netmon.top.snapshot import KEYS

    unknown = {"failures"} if not watched.report.outcome else set()
    unknown |= {"bytes_sent", "bytes_received"} if not (watched.report.statistics or watched.report.progress) else set()
    return frozenset(KEYS) - unknown


def _presenter(watched: Watched) -> Presenter:
    from netmon.cli.views import is_ascii_only
    from netmon.top.columns import Presenter
    from netmon.users import Users

    ascii_only = is_ascii_only()
    known = _known_keys(watched)
    return Presenter(
        Users(ascii_only=ascii_only).name,
        ascii_only=ascii_only,
        knows_failures="failures" in known,
        knows_bytes="bytes_sent" in known,
    )


def _show(options: argparse.Namespace, feed: Feed, watched: Watched, choice: Choice) -> None:
    """Show the view until the user ends it. Raises NetmonError if the feed fails."""
    from netmon.cli.views import is_coloured
    from netmon.top.app import TopApp

    if not is_coloured(options, os.environ, on_terminal=True):
        os.environ["NO_COLOR"] = "1"  # textual obeys it
    TopApp(feed, _presenter(watched), choice).show()
