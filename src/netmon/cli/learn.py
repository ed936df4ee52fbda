"""`netmon learn`: what programs connect to and accept, as a configuration that expects just that."""

from __future__ import annotations

import argparse
import os
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import say, show
from netmon.cli.flags import LEARNED, add_learn_flags, flag_error
from netmon.cli.session import Signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netmon.cli.run import MakeView
    from netmon.filters.compiled import Watched
    from netmon.learn.view import LearnView
    from netmon.outputs.base import Output

DIRECTIONS = ("ingress", "egress")
# With --from nothing else chooses connections: `netmon replay` does.
LIVE_ALONE = ("any_kernel", "ring_size", "batch_delay", "line_limit", "record", "record_limit", "user")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "learn",
        help="write rules of what programs connect to and accept; run --expect reports what is outside of them",
        description="Watch connections for a time, or read recorded ones, and write a configuration whose rules say "
        "what each program, unit or container connects to and accepts: by names where DNS gave one, else by networks "
        "or addresses. `netmon run --expect FILE` then reports what is outside (docs/rules.md).",
    )
    parser.set_defaults(command=learn)
    add_learn_flags(parser)


def learn(options: argparse.Namespace) -> int:
    """Learn, and write the result. Raises ConfigError, OutputError, another NetmonError."""
    return _learn_live(options) if options.source is None else _learn_from(options)


class _TimedSignals(Signals):
    """Handles signals as Signals does; a time that passes is like a first SIGTERM."""

    def begin(self, seconds: float) -> None:
        """Let the time begin. Call it once rights are given up: the thread inherits them."""
        thread = threading.Timer(seconds, self._end)
        thread.daemon = True
        thread.start()

    def _end(self) -> None:
        self.stopped = True
        if self._monitor is not None:
            self._monitor.stop()


def _learn_live(options: argparse.Namespace) -> int:
    from netmon.cli.run import run_with

    signals = _TimedSignals(reloadable=False)
    options.names = options.names and (options.egress or not options.ingress)
    output, make_view = _written_to(options.output)

    def ready() -> None:
        say("ready")
        if options.seconds is not None:
            signals.begin(options.seconds)

    losses = run_with([output], options, signals, make_view=make_view, ready=ready)
    return EXIT_FAILED if losses.blind_ms else EXIT_OK


def _written_to(path: str | None) -> tuple[Output, MakeView]:
    """Return the output, and what makes the view. A file is opened now, but keeps what it has until there is more."""
    from netmon.outputs.base import Output
    from netmon.outputs.standard_output import StandardOutput

    if path is None:
        return StandardOutput(), learn_view
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
    return Output(path, fd), partial(learn_view, begin=partial(_empty, fd))


def _empty(fd: int) -> None:
    with suppress(OSError):  # of a pipe
        os.ftruncate(fd, 0)


def learn_view(watched: Watched, **options: Any) -> LearnView:
    """Return the view that learns. watched: what is watched."""
    from netmon.learn.view import LearnView

    return LearnView(watched.directions, **options)


def _learn_from(options: argparse.Namespace) -> int:
    from netmon.cli.flag_names import FLAGS
    from netmon.cli.recorded import read_recorded
    from netmon.learn.learner import Learner
    from netmon.learn.write import write_expectation

    given = getattr(options, "given", ())
    for name in ("seconds", *LIVE_ALONE, *(name for name in FLAGS if name not in DIRECTIONS)):
        if name in given or (name not in LEARNED and getattr(options, name, None)):
            flag = "for" if name == "seconds" else name
            raise flag_error(
                flag,
                "is for connections that are watched; choose recorded ones by netmon replay: "
                "netmon replay FLAGS FILE | netmon learn --from -",
            )
    recorded = read_recorded(options.source)
    directions: Sequence[str] = [name for name in DIRECTIONS if getattr(options, name)] or recorded.directions
    learner = Learner()
    for event in recorded.events:
        learner.add(event)
    text = write_expectation(learner, directions)
    if options.output is None:
        show(text.rstrip("\n"))
    else:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    for reason, count in sorted(learner.left_out.items()):
        say(f"not learned: {count:,} {reason}")
    return EXIT_OK
