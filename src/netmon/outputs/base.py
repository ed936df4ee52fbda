"""What outputs have in common."""

from __future__ import annotations

import os
import select
import stat

from netmon.errors import OutputError

QUEUE_LIMIT = 8 << 20  # bytes: some 16,000 events


class Output:
    """A destination of lines: a name, and an open file descriptor.

    The events' lines arrive in one piece of many lines. An output with a queue before it (OutputQueue) is written to
    by the queue's thread alone, one without by the reading thread.
    """

    def __init__(self, name: str, fd: int, queue_limit: int = QUEUE_LIMIT) -> None:
        """name: for messages and for the counts of lost events. queue_limit: bytes of lines that may wait for it."""
        self.name = name
        self.queue_limit = queue_limit
        self._fd = fd
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self._reader = select.poll()
        self._reader.register(fd, 0)

    def write(self, data: bytes) -> None:
        """Write all of data; wait as long as that takes. Raises OutputError."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:  # the descriptor does not block, and has no room
                    self._room.poll()
        except OSError as error:
            raise OutputError(self.name, error) from error

    def write_some(self, data: bytes, start: int, seconds: float) -> int:
        """Write some of data from start on; return how many bytes: 0 when there is no room within so many seconds.

        Raises OSError.
        """
        if not self._room.poll(seconds * 1000):
            return 0
        end = len(data)
        # A pipe with room takes PIPE_BUF bytes without blocking, and as a whole: up to a line's end, no line is cut.
        if not self._is_file and end - start > select.PIPE_BUF:
            end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or start + select.PIPE_BUF
        try:
            return os.write(self._fd, memoryview(data)[start:end])
        except BlockingIOError:  # somebody else has filled it meanwhile
            return 0

    def require_reader(self) -> None:
        """Raise OutputError when nobody can read any more what is written."""
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in self._reader.poll(0)):
            raise OutputError(self.name, BrokenPipeError())

    def close(self) -> None:
        """Close the descriptor: its reader finds the end."""
        os.close(self._fd)
