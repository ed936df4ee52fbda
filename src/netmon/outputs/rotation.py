"""Rotates a file: it becomes NAME.1, the one before NAME.2, and so on. An old one may be compressed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, NamedTuple

from netmon.outputs.opening import NEW_MODE

SUFFIXES = {"gzip": ".gz", "zstd": ".zst"}
UNFINISHED = ".tmp"
PIECE = 1 << 20  # bytes that are compressed at once


class Rotation(NamedTuple):
    """When to rotate a file, and what becomes of the old ones.

    Attributes:
        size: Bytes that it may have; None: any.
        every: Seconds that it may be written to, counted from midnight of the epoch's first day; None: for ever.
        keep: How many old ones to keep.
        compress: gzip, zstd, or "".
    """

    size: int | None = None
    every: float | None = None
    keep: int = 5
    compress: str = ""

    def period(self, now: float) -> int:
        """Return the number of the period that a time (UNIX time) is in; 0 if time does not matter."""
        return int(now // self.every) if self.every else 0


def shift(directory: int, name: str, keep: int) -> None:
    """Make room for NAME.1: rename each old file to the next number; the one beyond `keep` is overwritten or removed.

    Raises:
        OSError: The directory does not allow it.
    """
    for number in range(keep, 0, -1):
        for suffix in ("", *SUFFIXES.values()):
            old = f"{name}.{number}{suffix}"
            with suppress(FileNotFoundError):
                if number == keep:
                    os.unlink(old, dir_fd=directory)
                else:
                    os.rename(old, f"{name}.{number + 1}{suffix}", src_dir_fd=directory, dst_dir_fd=directory)


class Compressor:
    """Compresses NAME.1 in a thread of its own. One at a time: meanwhile the file is not rotated again."""

    def __init__(self, directory: int, name: str, compress: str, report: Callable[[str], None]) -> None:
        """Prepare; remove what an earlier process has left unfinished.

        Args:
            directory: A descriptor of the directory.
            name: Of the file that is rotated.
            compress: gzip or zstd.
            report: Takes a message if it fails.

        Raises:
            ValueError: This Python cannot compress so.
            OSError: What is left cannot be removed.
        """
        self._directory = directory
        self._name = name
        self._new = f"{name}.1{SUFFIXES[compress]}"
        self._open = _opener(compress)
        self._report = report
        self._thread: threading.Thread | None = None
        with suppress(FileNotFoundError):
            os.unlink(self._new + UNFINISHED, dir_fd=directory)

    @property
    def busy(self) -> bool:
        """Whether a file is being compressed."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to compress NAME.1. Call it from a thread that blocks signals."""
        self._thread = threading.Thread(target=self._compress, name="compress", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # a limit of threads
            self._thread = None
            self._report(f"{self._name}.1 is not compressed: {error}")

    def wait(self, seconds: float) -> None:
        """Wait until it is done, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _compress(self) -> None:
        old, unfinished = f"{self._name}.1", self._new + UNFINISHED
        directory = self._directory
        try:
            source = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with (
                open(source, "rb") as plain,
                open(os.open(unfinished, flags, NEW_MODE, dir_fd=directory), "wb") as file,
                self._open(file) as compressed,
            ):
                while piece := plain.read(PIECE):
                    compressed.write(piece)
            os.rename(unfinished, self._new, src_dir_fd=directory, dst_dir_fd=directory)
            os.unlink(old, dir_fd=directory)
        except OSError as error:
            self._report(f"{old} is not compressed: {error.strerror or error}")
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=directory)


def _opener(compress: str) -> Callable[[IO[bytes]], Any]:
    """Return what makes a file that compresses into another one. Raises ValueError."""
    if compress == "zstd":
        try:
            from compression.zstd import ZstdFile  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ValueError("zstd needs Python 3.14 or newer, which has it; give gzip") from None
        return lambda file: ZstdFile(file, "wb")
    from gzip import GzipFile

    return lambda file: GzipFile("", "wb", 6, file, time.time())
