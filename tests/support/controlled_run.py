"""`netmon run` in this process, with a control socket; a ring buffer is filled on request."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from netmon.cli.main import make_parser
from netmon.cli.run import run_with
from netmon.cli.session import Signals
from netmon.filters.compiled import CompiledFilters
from netmon.outputs.base import Output
from tests.support.record_mixes import MIXES, Mix
from tests.support.ring_filler import Filler
from tests.support.waiting import wait_until


def run_controlled(
    directory: Path,
    act: Callable[[Filler, str], None],
    *flags: str,
    mix: Mix = MIXES["1 process, outcome and statistics"],
    outputs: Sequence[Output] = (),
) -> None:
    """Run the command; once it answers, act in another thread, and then stop the command by SIGTERM.

    Args:
        directory: For the socket and the output.
        act: Is called with the filler and the socket's path.
        flags: Of `netmon run`.
        mix: The records that are sent.
        outputs: Where events go; by default a file.
    """
    fillers: list[Filler] = []
    failures: list[BaseException] = []
    path = str(directory / "control")

    def open_filler(filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Filler:
        fillers.append(Filler(mix, ring_size))
        return fillers[-1]

    def wait_and_act() -> None:
        try:
            wait_until(lambda: fillers and fillers[0].attached)
            act(fillers[0], path)
        except BaseException as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in handled]
    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        arguments = ["run", "--any-kernel", "--no-confine", "--control", path, *flags]
        options = make_parser(["run"]).parse_args(arguments)
        file = Output("file", os.open(directory / "events", os.O_WRONLY | os.O_CREAT))
        run_with(outputs or [file], options, Signals(), open_filler)
    finally:
        thread.join()
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
    assert not failures, failures
