"""What outputs have in common."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from netmon.errors import OutputError

if TYPE_CHECKING:
    from netmon.outputs.choice import Choice
    from netmon.outputs.view import View

QUEUE_LIMIT = 8 << 20  # bytes: some 16,000 events

# At the end of a run: an output that takes nothing for so many seconds is given up.
DRAIN_LIMIT = 5.0
# How often (seconds) to check whether to give up an output that takes nothing.
ROOM_INTERVAL = 0.1

LOST_EVENTS = b'{"type":"LostEvents"'  # the beginning of the line of such an event


class Sink:
    """What outputs of all kinds have in common.

    Attributes:
        name: Names the output in messages and in the counts of lost events.
        choice: Which events it gets; None: all.
        render: Makes lines of another schema of lines of JSON, in the thread that writes them, one of each; None: it
            gets the lines as they are.
        view: Makes the lines that it gets, in the reading thread; None: it gets the lines as they are.
        shows_view: Whether it is for what the user looks at: the flags choose its view.
        has_queue: Whether it has a queue even if it is the only output.
    """

    shows_view = True
    has_queue = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.choice: Choice | None = None
        self.render: Callable[[Iterable[str]], list[str]] | None = None
        self.view: View | None = None

    def settle(self) -> None:
        """Finish what goes on in the background, once all is written, or give it up after a while."""

    def close(self) -> None:
        """Close it, so that its reader finds the end of the data."""


def start_without_signals(thread: threading.Thread) -> None:
    """Start a thread that blocks all signals: the main thread must get them, and wake up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Output(Sink):
    """Writes lines to a destination: an open file descriptor with a name.

    One thread at a time writes: the reading thread, or the thread of the queue before the output (OutputQueue). A
    destination of another kind is a subclass.

    No write waits for the destination, as far as the kernel allows that: a write that waits cannot be given up.

    Attributes:
        queue_limit: How many bytes of lines may wait in a queue before it.
    """

    def __init__(self, name: str, fd: int, queue_limit: int = QUEUE_LIMIT) -> None:
        """Prepare to write to a descriptor, which close() closes.

        Args:
            name: Differs from the names of the run's other outputs.
            fd: The file descriptor. If it is a regular file, all who write to it through this open file append from
                now on: after a truncation, as by logrotate's copytruncate, the file goes on at its beginning.
            queue_limit: Bytes.

        Raises:
            OSError: fd is not open.
        """
        super().__init__(name)
        self.queue_limit = queue_limit
        self._fd = fd
        mode = os.fstat(fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._is_terminal = stat.S_ISCHR(mode) and os.isatty(fd)
        if self._is_file:
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
        self._close_others: list[Callable[[], object]] = []  # close further descriptors of the same destination
        self._write_now = self._writer(mode)
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self._reader = select.poll()
        self._reader.register(fd, 0)

    def _writer(self, mode: int) -> Callable[[memoryview], int]:
        """Return a function that writes what there is room for. Without room it returns 0 or raises BlockingIOError."""
        fd = self._fd
        if stat.S_ISSOCK(mode):
            import socket  # slow to import

            connection = socket.socket(fileno=os.dup(fd))
            self._close_others.append(connection.close)
            return lambda data: connection.send(data, socket.MSG_DONTWAIT)
        if (stat.S_ISFIFO(mode) or self._is_terminal) and os.get_blocking(fd):
            reopened = _reopen(fd)
            if reopened is None:
                return self._write_little
            self._close_others.append(lambda: os.close(reopened))
            return lambda data: os.write(reopened, data)
        return lambda data: os.write(fd, data)

    def _write_little(self, data: memoryview) -> int:
        """Write to a pipe or a terminal whose writes wait: only as much as one that has room takes at once."""
        return os.write(self._fd, data[: select.PIPE_BUF]) if self._room.poll(0) else 0

    def write(self, data: bytes, start: int, seconds: float) -> int:
        """Write as much as there is room for, if need be after waiting for room.

        Args:
            data: Whole lines.
            start: The index in data from which to write.
            seconds: How long to wait for room.

        Returns:
            How many bytes were written; 0 if there was no room.

        Raises:
            OSError: The write failed. BrokenPipeError: there is no reader any more.
        """
        rest = memoryview(data)[start:]
        written = self._try(rest)
        if not written and self._room.poll(seconds * 1000):
            written = self._try(rest)
            if not written:  # a terminal with room for one byte refuses a line end, which is two there
                time.sleep(seconds)
        return written

    def _try(self, data: memoryview) -> int:
        try:
            return self._write_now(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if self._is_terminal and error.errno == errno.EIO:  # it has hung up: its window was closed, say
                raise _no_reader() from error
            raise

    def write_some(self, data: bytes, start: int, seconds: float) -> int:
        """Write like write(), but whole lines, as far as possible: a reader does not wait for the rest of a line.

        Args:
            data: Whole lines.
            start: The index in data from which to write.
            seconds: How long to wait for room.

        Returns:
            How many bytes were written; 0 if there was no room.

        Raises:
            OSError: The write failed. BrokenPipeError: there is no reader any more.
        """
        # A pipe that has room takes up to PIPE_BUF bytes, and all of them or none. So no line is cut in two if the
        # last of these bytes ends a line.
        if self._is_file or len(data) - start <= select.PIPE_BUF:
            return self.write(data, start, seconds)
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or start + select.PIPE_BUF
        return self.write(data[start:end], 0, seconds)

    def remove_torn_line(self, data: bytes, written: int) -> None:
        """Remove the part of a line that was written when the disk was full, if the output is a regular file.

        Args:
            data: Whole lines.
            written: How many of its bytes were written.
        """
        torn = written - end_of_lines(data, written)
        if not (torn and self._is_file):
            return
        with suppress(OSError):  # a file may forbid it (chattr +a)
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            if os.fstat(self._fd).st_size == end:  # else another process has written behind it
                os.ftruncate(self._fd, end - torn)

    def require_reader(self) -> None:
        """Check that there still is a reader, as far as the kind of descriptor shows that.

        Raises:
            OutputError: The other end of the pipe, the socket or the terminal is closed.
        """
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in self._reader.poll(0)):
            raise OutputError(self.name, _no_reader())

    def close(self) -> None:
        """Close the descriptor, so that its reader finds the end of the data."""
        for close in self._close_others:
            close()
        self._close_fd()

    def _close_fd(self) -> None:
        os.close(self._fd)


def _reopen(fd: int) -> int | None:
    """Open a pipe or a terminal a second time so that writes do not wait; None: that is not possible.

    O_NONBLOCK on the descriptor itself would apply to all processes that share it, a shell among them.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's, or there is no /proc
        return None


def _no_reader() -> BrokenPipeError:
    return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def end_of_lines(data: bytes, written: int) -> int:
    """Return where the last line ends that is among the first bytes of data."""
    return data.rfind(b"\n", 0, written) + 1


def reports_in(data: bytes) -> list[bytes]:
    """Return the lines that are LostEvents: reports of losses, which do not count as events."""
    if LOST_EVENTS not in data:
        return []
    return [line for line in data.splitlines() if line.startswith(LOST_EVENTS)]
