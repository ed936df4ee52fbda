"""Keeps events in files until the collector has taken them: over a restart, and a kill at any moment.

A segment is a file of JSON lines. After each piece that was put there is a mark, a line that says how far events were
received. What follows the last mark was not put as a whole, so the next start removes it, and counts it as missed.
The kernel writes files to the disk in its own time: when the host itself fails, the last seconds may be missing.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress

from netmon.errors import NetmonError, shown
from netmon.forward.store import Batch, Mark, whole_lines

MIN_LIMIT, MAX_SEGMENT = 1 << 20, 8 << 20  # bytes
RENEWED = 256 << 10  # bytes: a segment that is larger is removed once all of it was sent
POSITION = "position"
SEGMENT = re.compile(r"events-(\d{12})\.jsonl")
MARK = re.compile(rb"#([0-9a-f]{0,32}) (\d{1,19})")
OPENING = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
MODE, DIRECTORY_MODE = 0o600, 0o700


class Spool:
    """Keeps lines in the files of a directory, as Store says.

    Attributes:
        mark: How far events were received.
        directory: The directory's descriptor.
        found: How many bytes an earlier process has left.
    """

    def __init__(self, path: str, limit: int) -> None:
        """Open the directory, which is made if it does not exist.

        Args:
            path: The directory. No other process may use it meanwhile.
            limit: Bytes that all files may have together.

        Raises:
            NetmonError: It cannot be used.
        """
        self.mark = Mark()
        self._limit = max(limit, MIN_LIMIT)
        self._segment_limit = min(MAX_SEGMENT, self._limit // 8)
        try:
            with suppress(FileExistsError):
                os.mkdir(path, DIRECTORY_MODE)
            self.directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._check_owner(path)
            self._position = self._open(POSITION)
            try:
                fcntl.flock(self._position, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NetmonError(f"{shown(path)}: another process uses it; give another directory") from None
            self._read_segments()
        except OSError as error:
            raise NetmonError(f"{shown(path)}: {error.strerror or error}") from None
        self.found = self.size

    def _check_owner(self, path: str) -> None:
        found = os.fstat(self.directory)
        if found.st_uid != os.geteuid():
            raise NetmonError(
                f"{shown(path)}: belongs to user {found.st_uid}, and this process is user {os.geteuid()}; "
                "change its owner, or give another directory"
            )
        if found.st_mode & 0o022:
            raise NetmonError(f"{shown(path)}: others may write to it; chmod go-w, or give another directory")

    def _open(self, name: str) -> int:
        fd = os.open(name, OPENING | os.O_CREAT, MODE, dir_fd=self.directory)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NetmonError(f"{shown(name)} in the spool's directory is no regular file; remove it")
        return fd

    def _read_segments(self) -> None:
        """Find what an earlier process has left."""
        numbers = sorted(int(match[1]) for name in os.listdir(self.directory) if (match := SEGMENT.fullmatch(name)))
        first, self._offset = self._read_position()
        for number in [number for number in numbers if number < first]:  # sent, but not removed any more
            self._remove(number)
        numbers = [number for number in numbers if number >= first] or [max(first, 1)]
        if numbers[0] != first:
            self._offset = 0
        self._files = {number: self._open(_name(number)) for number in numbers}
        self._sizes = {number: os.fstat(fd).st_size for number, fd in self._files.items()}
        last = numbers[-1]
        self._sizes[last] = self._cut(last)
        self._offset = min(self._offset, self._sizes[numbers[0]])

    def _read_position(self) -> tuple[int, int]:
        """Return the segment and the offset of the first line that was not sent."""
        match = re.fullmatch(rb"(\d{12}) (\d{12})\n", os.pread(self._position, 64, 0))
        return (int(match[1]), int(match[2])) if match else (0, 0)  # sent again rather than not at all

    def _cut(self, number: int) -> int:
        """Remove what follows the last mark of a segment, and take over the mark; return the size."""
        fd, size = self._files[number], self._sizes[number]
        data = os.pread(fd, size, 0)
        end = size
        while end:
            end = data.rfind(b"\n", 0, end) + 1
            start = data.rfind(b"\n", 0, end - 1) + 1 if end else 0
            if match := MARK.fullmatch(data, start, max(start, end - 1)):
                self.mark = Mark(match[1].decode(), int(match[2]))
                break
            end = start
        if end != size:
            os.ftruncate(fd, end)
        return end

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return sum(self._sizes.values()) - self._offset

    def put(self, lines: bytes, mark: Mark | None) -> bool:
        """Keep whole lines, as Store.put()."""
        mark = mark or self.mark
        data = lines + _mark_line(mark)
        last = max(self._sizes)
        if self._sizes[last] and self._sizes[last] + len(data) > self._segment_limit:
            if self._is_full(len(data)):
                return False
            last += 1
            self._files[last], self._sizes[last] = self._open(_name(last)), 0
            self._forget_sent()
        elif self._is_full(len(data)):
            return False
        size = self._sizes[last]
        if not size:  # whatever is torn of this segment, how far the one before went is still known
            data = _mark_line(self.mark) + data
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._files[last], memoryview(data)[written:], size + written)
        except OSError:
            os.ftruncate(self._files[last], size)
            raise
        self._sizes[last] = size + written
        self.mark = mark
        return True

    def _is_full(self, size: int) -> bool:
        return bool(self.size) and sum(self._sizes.values()) + size > self._limit

    def first(self, limit: int) -> Batch:
        """Return the first lines, as Store.first()."""
        self._forget_sent()
        number = min(self._sizes)
        length = min(self._sizes[number] - self._offset, limit)
        data = whole_lines(os.pread(self._files[number], length, self._offset), limit)
        if not data and length:  # a line that is longer
            data = whole_lines(os.pread(self._files[number], self._sizes[number], self._offset), limit)
        if b"#" not in data:
            return Batch(data, len(data))
        return Batch(b"".join(line for line in data.splitlines(True) if not line.startswith(b"#")), len(data))

    def done(self, size: int) -> None:
        """Forget the first lines: the next process begins behind them, too."""
        self._offset += size
        self._forget_sent()
        if not self.size and self._offset > RENEWED:
            self._renew(max(self._sizes))
        self._write_position()

    def _renew(self, number: int) -> None:
        """Replace the only segment, all of which was sent, by an empty one: on a full disk that makes room again."""
        line = _mark_line(self.mark)
        try:
            fd = self._open(_name(number + 1))
            os.pwrite(fd, line, 0)
        except OSError:  # no room even for that
            self._remove(number + 1)
            with suppress(OSError):
                os.ftruncate(self._files[number], 0)
                self._sizes[number] = self._offset = os.pwrite(self._files[number], line, 0)
            return
        os.close(self._files.pop(number))
        self._files, self._sizes, self._offset = {number + 1: fd}, {number + 1: len(line)}, len(line)
        self._write_position()
        self._remove(number)

    def _forget_sent(self) -> None:
        """Remove the first segments, if all in them was sent, and they are not the last one."""
        while len(self._sizes) > 1 and self._offset >= self._sizes[number := min(self._sizes)]:
            self._offset = 0
            del self._sizes[number]
            os.close(self._files.pop(number))
            self._write_position()
            self._remove(number)

    def _write_position(self) -> None:
        with suppress(OSError):  # on a full disk: then what was sent is sent again after a restart
            os.pwrite(self._position, b"%012d %012d\n" % (min(self._sizes), self._offset), 0)

    def _remove(self, number: int) -> None:
        with suppress(OSError):
            os.unlink(_name(number), dir_fd=self.directory)

    def close(self) -> None:
        """Close all files."""
        for fd in (*self._files.values(), self._position, self.directory):
            os.close(fd)


def _name(number: int) -> str:
    return f"events-{number:012d}.jsonl"


def _mark_line(mark: Mark) -> bytes:
    return f"#{mark.run} {mark.events}\n".encode()
