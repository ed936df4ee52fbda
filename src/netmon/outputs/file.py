"""A file that events are appended to, which is rotated, and opened again after another program has renamed it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from netmon.errors import NetmonError, shown
from netmon.outputs.base import QUEUE_LIMIT, Output, end_of_lines
from netmon.outputs.opening import DIRECTORY, UnsafeError, open_for_appending
from netmon.outputs.rotation import Compressor, Rotation, shift

RETRY = 60.0  # seconds after a rotation that failed
SETTLE_LIMIT = 5.0  # seconds that the end waits for a file that is compressed


class FileOutput(Output):
    """Appends to a file. Whatever happens to it, this output does not break: what finds no room waits in its queue.

    Only whole lines are left in the file, unless the process is killed while it writes.

    Attributes:
        directory: A descriptor of the file's directory.
        rotates: Whether it renames and removes files there.
    """

    shows_view = False
    has_queue = True

    def __init__(
        self,
        path: str,
        rotation: Rotation | None = None,
        report: Callable[[str], None] = lambda _message: None,
        *,
        owner: tuple[int, int] | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """Open the file.

        Args:
            path: The file, which also names the output.
            rotation: When to rotate it; None: never.
            report: Takes a message, each time that something begins or ends to be wrong.
            owner: The user and group that this process will become, who then owns the file; None: it stays who it is.
            queue_limit: Bytes.

        Raises:
            NetmonError: It is not a file to write to, or cannot be opened.
        """
        directory, self._file_name = os.path.split(path)
        self._path = path
        self._report = report
        self._rotation = rotation
        self._owner = owner
        self._owners: Collection[int] = {os.geteuid(), *([owner[0]] if owner else [])}
        try:
            self.directory = os.open(directory or ".", DIRECTORY)
            fd = self._open()
        except OSError as error:
            raise NetmonError(f"{shown(path)}: {error.strerror or error}") from None
        super().__init__(path, fd, queue_limit)
        self.rotates = rotation is not None
        self._compressor: Compressor | None = None
        if rotation is not None and rotation.compress:
            self._compressor = Compressor(self.directory, self._file_name, rotation.compress, self._say)
        self._problem = ""  # that was reported
        self._reopening = False
        self._rotate_at = 0.0  # time.monotonic(): not before
        # The period that it was written in last, which may have been before this process.
        self._period = rotation.period(os.fstat(fd).st_mtime) if rotation else 0

    def _open(self) -> int:
        fd = open_for_appending(self.directory, self._file_name, self._path, self._owners)
        if self._owner is not None and os.geteuid() == 0:
            with suppress(OSError):
                os.fchown(fd, *self._owner)
        return fd

    def reopen(self) -> None:
        """Open the file by its name again, before the next line. May be called in a signal handler."""
        self._reopening = True

    def check_rights(self) -> None:
        """Report it if this process may not make files in the directory: call it once rights are given up."""
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=self.directory, effective_ids=True):
            self._say(f"its directory cannot be written to by user {os.geteuid()}: it is neither rotated nor reopened")

    def write_some(self, data: bytes, start: int, seconds: float) -> int:
        """Write whole lines, as many as fit into the file and on the disk. Returns 0, after a while, if none do."""
        self._attend()
        end = self._end_for(data, start)
        if end == start:  # the next line belongs into the next file
            self._rotate()
            end = self._end_for(data, start)
            if end == start:  # it is longer than a file may be
                end = data.index(b"\n", start) + 1
        written, problem = start, None
        try:
            while written < end:
                written += os.write(self._fd, memoryview(data)[written:end])
        except OSError as error:
            problem = error
        whole = max(start, end_of_lines(data, written))
        if whole < written and self._remove_end(written - whole):
            written = whole
        if problem is None:
            self._recover()
        elif written == start:
            self._fail(problem)
            time.sleep(seconds)
        return written - start

    def write(self, data: bytes, start: int, seconds: float) -> int:
        """Write like write_some()."""
        return self.write_some(data, start, seconds)

    def remove_torn_line(self, data: bytes, written: int) -> None:
        """Do nothing: there is none."""

    def require_reader(self) -> None:
        """Rotate or reopen the file, if that is due: this is called while there is nothing to write."""
        self._attend()

    def settle(self) -> None:
        """Wait a little for a file that is being compressed."""
        if self._compressor is not None:
            self._compressor.wait(SETTLE_LIMIT)

    @property
    def _size(self) -> int:
        return os.fstat(self._fd).st_size

    def _end_for(self, data: bytes, start: int) -> int:
        """Return the end of the lines that the file has room for, as rotation limits it."""
        if self._rotation is None or self._rotation.size is None or time.monotonic() < self._rotate_at:
            return len(data)
        room = self._rotation.size - self._size
        if room >= len(data) - start:
            return len(data)
        if self._compressor is not None and self._compressor.busy:
            return len(data)
        return max(start, data.rfind(b"\n", start, start + max(0, room)) + 1)

    def _remove_end(self, count: int) -> bool:
        """Remove the last bytes of the file; return whether that was possible: a file may forbid it (chattr +a)."""
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            if self._size != end:  # another process has written behind it
                return False
            os.ftruncate(self._fd, end - count)
        except OSError:
            return False
        return True

    def _attend(self) -> None:
        if self._reopening:
            self._reopening = False
            self._reopen()
        if self._rotation is not None and self._rotation.every is not None:
            period = self._rotation.period(time.time())
            if period != self._period and time.monotonic() >= self._rotate_at:
                self._rotate(period)

    def _reopen(self) -> None:
        """Open the file by its name; if that fails, go on with the one that is open."""
        try:
            if not self._is_open():
                self._replace(self._open())
        except (OSError, UnsafeError) as error:
            reason = str(error) if isinstance(error, UnsafeError) else f"{self._path}: {error.strerror or error}"
            self._report(f"{reason}; goes on with the file that was open before")

    def _is_open(self) -> bool:
        """Return whether the file that is open still has its name."""
        try:
            found = os.stat(self._file_name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._fd))

    def _replace(self, fd: int) -> None:
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)

    def _rotate(self, period: int | None = None) -> None:
        """Rotate the file, unless it is empty or the last one is still compressed; if that fails, try again later."""
        assert self._rotation is not None
        if self._compressor is not None and self._compressor.busy:
            return
        self._period = self._rotation.period(time.time()) if period is None else period
        if not self._size:
            return
        directory, name = self.directory, self._file_name
        try:
            shift(directory, name, self._rotation.keep)
            os.rename(name, f"{name}.1", src_dir_fd=directory, dst_dir_fd=directory)
            try:
                self._replace(self._open())
            except BaseException:
                os.rename(f"{name}.1", name, src_dir_fd=directory, dst_dir_fd=directory)
                raise
        except (OSError, UnsafeError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else error
            self._say(f"cannot be rotated: {reason}; tried again in a minute")
            self._rotate_at = time.monotonic() + RETRY
            return
        if self._compressor is not None:
            self._compressor.start()

    def _fail(self, error: OSError) -> None:
        problem = error.strerror or str(error)
        if problem != self._problem:
            self._problem = problem
            self._say(
                f"{problem}; events wait, and those without room in its queue are lost, until it can be written to"
            )

    def _recover(self) -> None:
        if self._problem:
            self._problem = ""
            self._say("is written to again")

    def _say(self, message: str) -> None:
        self._report(f"{shown(self._path)}: {message}")
