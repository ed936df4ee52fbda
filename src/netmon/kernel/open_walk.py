"""The walk through the connections that are open: reports what they have carried since the walk before it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from netmon.errors import BpfError
from netmon.kernel.bpf import Link

BUDGET = 2048  # connections that are looked at in a row, at most


class OpenWalk:
    """Runs an iterator of each map that holds open connections, one after the other, in parts.

    An iterator's descriptor is good for one run. To make one takes the attached iterator, and no capability.
    """

    def __init__(self, iterators: Mapping[Link, Callable[[], bool]], allow: Callable[[int], None]) -> None:
        """Take over attached iterators, which close() closes.

        Args:
            iterators: One for each map, and what tells whether there is anything in it.
            allow: Lets the kernel half look at so many connections.
        """
        self._iterators = iterators
        self._allow = allow
        self._left: list[Link] = []  # those that are still to be run
        self._fd: int | None = None  # the run that has paused

    def go_on(self, *, anew: bool = False) -> bool:
        """Look at some connections; return whether there are more.

        Args:
            anew: Begin a new walk, even if the last one has not ended.

        Raises:
            BpfError: The kernel refuses.
        """
        if anew:
            self._stop()
        if self._fd is None and not self._left:
            self._left = [iterator for iterator, is_used in self._iterators.items() if is_used()]
        self._allow(BUDGET)
        while self._fd is not None or self._left:
            if self._fd is None:
                self._fd = self._left.pop(0).iterate()
            try:
                os.read(self._fd, 1)  # returns nothing: the end
            except BlockingIOError:  # it has looked at as many as it may, or the ring buffer is half full
                return True
            except OSError as error:
                raise BpfError(error.errno or errno.EIO, "look at open connections") from error
            self._close_run()
        return False

    def _close_run(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _stop(self) -> None:
        self._close_run()
        self._left = []

    def close(self) -> None:
        """Detach the iterators. Idempotent."""
        self._stop()
        for iterator in self._iterators:
            iterator.close()
