"""What ends the watching of a command: its end, told by the supervisor, and that of its descendants, if they count."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netmon.cli.console import say
from netmon.command.descendants import running_descendants, wait_for_descendants
from netmon.errors import NetmonError

if TYPE_CHECKING:
    from netmon.kernel.marks import FollowedProcess
    from netmon.monitor import Monitor

SHOWN = 5  # processes that are named


class CommandEnd:
    """Stops a monitor when the command has ended. It takes the place of the signals that end `netmon run`.

    Attributes:
        stopped: Whether the monitor was told to stop.
    """

    def __init__(self, supervisor: int, *, wait_all: bool) -> None:
        """Make it.

        Args:
            supervisor: The pipe from the supervisor.
            wait_all: Whether to wait for the command's descendants, too.
        """
        self.stopped = False
        self._supervisor = supervisor
        self._wait_all = wait_all
        self._monitor: Monitor | None = None

    def bind(self, monitor: Monitor) -> None:
        """Set the monitor to stop."""
        self._monitor = monitor

    def take_reload(self) -> bool:
        """Return that there is nothing to reload."""
        return False

    def begin(self) -> None:
        """Wait for the end in a thread. Call it when the monitor runs and has given up its rights."""
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        try:
            os.read(self._supervisor, 1)  # nothing: the supervisor was killed, so nobody waits any more
            if self._wait_all:
                self._wait_for_descendants()
            elif descendants := self._descendants():
                go_on = "goes on" if len(descendants) == 1 else "go on"
                say(f"{_names(descendants)} {go_on} and {_is(descendants)} not watched any more; --wait-all waits")
        except NetmonError as error:
            if self._monitor is not None and not self._monitor.finished:  # it may have ended by itself
                say(error)
        finally:
            self.stopped = True
            if self._monitor is not None:
                self._monitor.stop()

    def _wait_for_descendants(self) -> None:
        """Wait until the last one has ended, or the supervisor says not to."""
        assert self._monitor is not None
        if descendants := self._descendants():
            say(f"waits for {_names(descendants)}; Ctrl-C ends that")
        wait_for_descendants(self._monitor, until=self._supervisor)

    def _descendants(self) -> Sequence[FollowedProcess]:
        assert self._monitor is not None
        return running_descendants(self._monitor)


def _names(processes: Sequence[FollowedProcess]) -> str:
    """Return how many processes there are, and the names of some."""
    count = len(processes)
    names = ", ".join(f"{name}[{pid}]" for pid, name in processes[:SHOWN])
    return f"{count} process{'es' * (count != 1)} of the command ({names}{', ...' * (count > SHOWN)})"


def _is(processes: Sequence[FollowedProcess]) -> str:
    return "is" if len(processes) == 1 else "are"
