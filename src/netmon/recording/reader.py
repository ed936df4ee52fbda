"""Reads a recording's frames. It may come from anywhere: each damage is a DecodeError that names the place."""

from __future__ import annotations

import os
import stat
import zlib
from typing import IO, NamedTuple

from netmon.errors import DecodeError, NetmonError
from netmon.recording.form import FORM_VERSION, HEAD, MAGIC, MAX_FRAME, START, Header, Kind, unpack_header

MAX_HEADER = 64 << 10  # bytes


class Frame(NamedTuple):
    """A frame of the file.

    Attributes:
        kind: A Kind.
        payload: What it holds.
        at: Where in the file it begins.
    """

    kind: int
    payload: bytes
    at: int


class RecordingFile:
    """An open recording, read from its beginning to its end.

    Attributes:
        header: Its header.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open it and read its header.

        Args:
            path: The file.

        Raises:
            NetmonError: It cannot be read.
            DecodeError: It is no recording, or one that this version of netmon cannot use.
        """
        self.name = os.fspath(path)
        self._at = 0
        self._file = _open(self.name)
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> Header:
        start = self._read(START.size)
        if not start.startswith(MAGIC):
            raise DecodeError(f"{self.name}: is no recording; `netmon run --record FILE` makes them")
        if len(start) < START.size:
            raise self.error(0, "its header is cut off")
        version = START.unpack(start)[1]
        if version != FORM_VERSION:
            raise DecodeError(
                f"{self.name}: is a recording of version {version}, and this netmon reads version {FORM_VERSION}; "
                "replay it with the netmon that has recorded it"
            )
        frame = self.read_frame()
        if frame is None or frame.kind != Kind.HEADER or len(frame.payload) > MAX_HEADER:
            raise self.error(START.size, "its header is cut off" if frame is None else "there is no header")
        try:
            return unpack_header(frame.payload)
        except DecodeError as error:
            raise DecodeError(f"{self.name}: {error}") from None

    def read_frame(self) -> Frame | None:
        """Return the next frame. None at the end, where the last frame may be torn: netmon was killed, say.

        Raises:
            DecodeError: The file is damaged.
            NetmonError: It cannot be read.
        """
        at = self._at
        head = self._read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        kind, length, check = HEAD.unpack(head)
        if not Kind.HEADER <= kind <= max(Kind):
            raise self.error(at, f"there is no frame, or one of the unknown kind {kind}")
        if length > MAX_FRAME:
            raise self.error(at, f"a frame of {length} bytes is too long")
        payload = self._read(length)
        if len(payload) < length:
            return None
        if zlib.crc32(payload) != check:
            raise self.error(at, "a frame has another checksum")
        return Frame(kind, payload, at)

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise NetmonError(f"{self.name}: {error.strerror}") from None
        self._at += len(data)
        return data

    def error(self, at: int, reason: str) -> DecodeError:
        """Return an error about a place in the file."""
        return DecodeError(f"{self.name}: damaged at byte {at}: {reason}")

    def close(self) -> None:
        """Close it. Idempotent."""
        self._file.close()


def _open(name: str) -> IO[bytes]:
    try:
        # Neither a pipe that nobody writes to nor a device is waited for.
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NetmonError(f"{name}: is no file")
        return open(fd, "rb")
    except OSError as error:
        raise NetmonError(f"{name}: {error.strerror}") from None
