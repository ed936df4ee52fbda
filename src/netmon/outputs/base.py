"""What outputs have in common."""

from __future__ import annotations

import errno
import os
import select
import stat

from netmon.errors import OutputError

QUEUE_LIMIT = 8 << 20  # bytes: some 16,000 events


class Output:
    """Writes lines to a destination: an open file descriptor with a name.

    One thread at a time writes: the reading thread, or the thread of the queue before the output (OutputQueue). A
    destination of another kind is a subclass.

    Attributes:
        name: Names the output in messages and in the counts of lost events.
        queue_limit: How many bytes of lines may wait in a queue before it.
    """

    def __init__(self, name: str, fd: int, queue_limit: int = QUEUE_LIMIT) -> None:
        """Prepare to write to a descriptor, which close() closes.

        Args:
            name: Differs from the names of the run's other outputs.
            fd: The file descriptor.
            queue_limit: Bytes.

        Raises:
            OSError: fd is not open.
        """
        self.name = name
        self.queue_limit = queue_limit
        self._fd = fd
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self._reader = select.poll()
        self._reader.register(fd, 0)

    def write(self, data: bytes) -> None:
        """Write all of data, and wait as long as that takes.

        Args:
            data: Whole lines.

        Raises:
            OutputError: They cannot be written; a part of them may have been.
        """
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
        """Write a part of data without blocking longer than a given time.

        Args:
            data: Whole lines.
            start: The index in data from which to write.
            seconds: How long to wait for room.

        Returns:
            How many bytes were written; 0 if there was no room.

        Raises:
            OSError: The write failed.
        """
        if not self._room.poll(seconds * 1000):
            return 0
        end = len(data)
        # A pipe that has room takes up to PIPE_BUF bytes without blocking, and all of them or none. So no line is cut
        # in two if the last of these bytes ends a line.
        if not self._is_file and end - start > select.PIPE_BUF:
            end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or start + select.PIPE_BUF
        try:
            return os.write(self._fd, memoryview(data)[start:end])
        except BlockingIOError:  # another process that writes to the same pipe has filled it meanwhile
            return 0

    def require_reader(self) -> None:
        """Check that there still is a reader, as far as the kind of descriptor shows that.

        Raises:
            OutputError: The other end of the pipe or socket is closed.
        """
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in self._reader.poll(0)):
            raise OutputError(self.name, BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def close(self) -> None:
        """Close the descriptor, so that its reader finds the end of the data."""
        os.close(self._fd)
