"""A file system with one file, under any name: names of FUSE may have 1,024 bytes, those of other file systems 255."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.held_process import (
    ANSWER,
    ATTRIBUTES,
    FILE,
    FORGET,
    GETATTR,
    INIT,
    INTERRUPT,
    LOOKUP,
    OPEN,
    READ,
    REQUEST,
    ROOT,
    load_fuse,
)

BATCH_FORGET = 42
READ_REQUEST = struct.Struct("=QQI")  # handle, offset, size
MS_NOSUID = 2


@contextmanager
def fuse_file(directory: Path, content: bytes) -> Iterator[None]:
    """Mount a file system on a directory in which every name is that of the same executable file."""
    load_fuse()
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"file", os.fsencode(directory), b"fuse", MS_NOSUID, options):
        raise OSError(ctypes.get_errno(), "mount")
    server = os.fork()
    if not server:
        try:
            _serve(fd, content)
        finally:
            os._exit(1)  # the file system is gone
    os.close(fd)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def _serve(fd: int, content: bytes) -> None:
    """Answer requests for ever."""
    while True:
        data = os.read(fd, 1 << 20)
        _, operation, unique, node, *_ = REQUEST.unpack_from(data)
        is_root = node == ROOT and operation != LOOKUP
        mode, size = (0o40755, 4096) if is_root else (0o100755, len(content))
        attributes = ATTRIBUTES.pack(ROOT if is_root else FILE, size, *[0] * 7, mode, 1, *[0] * 5)
        answers = {
            INIT: struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 12, 9, 1 << 17, 1, 32, 0, *[0] * 8),
            LOOKUP: struct.pack("=4Q2I", FILE, 0, 3600, 3600, 0, 0) + attributes,
            GETATTR: struct.pack("=Q2I", 3600, 0, 0) + attributes,
            OPEN: struct.pack("=Q2I", 1, 0, 0),
        }
        if operation == READ:
            _, offset, count = READ_REQUEST.unpack_from(data, REQUEST.size)
            answers[READ] = content[offset : offset + count]
        if operation in answers:
            os.write(fd, ANSWER.pack(ANSWER.size + len(answers[operation]), 0, unique) + answers[operation])
        elif operation not in (FORGET, BATCH_FORGET, INTERRUPT):
            os.write(fd, ANSWER.pack(ANSWER.size, -38, unique))  # ENOSYS
