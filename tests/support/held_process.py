"""A process that holds the lock of its own memory, so that a read of its arguments from /proc waits.

It maps a file of a FUSE file system whose server never answers a write. One thread writes the page back, another one
writes to the page again and waits for that, and a third one replaces the mapping: it waits for the second one, and
holds the lock meanwhile. Any user can do so, and a dead NFS server does it to programs that mean no harm.

    python3 -m tests.support.held_process DIRECTORY PORT

The kernel's module `fuse` must be loaded: load_fuse().
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until

# include/uapi/linux/fuse.h: headers of requests and answers, operations, structs of the answers.
REQUEST, ANSWER = struct.Struct("=IIQQIIIHH"), struct.Struct("=IiQ")
LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, INIT, OPENDIR, INTERRUPT = 1, 2, 3, 14, 15, 16, 26, 27, 36
ATTRIBUTES = struct.Struct("=6Q10I")
ROOT, FILE = 1, 2  # numbers of inodes
MS_SYNC = 4
MAP_FIXED = 16


class HeldProcess:
    """The process, once it holds its lock. It has a child, which connects on request."""

    def __init__(self, program: subprocess.Popen[bytes], server: int) -> None:
        self._program = program
        self._server = server
        self.pid = program.pid

    def connect(self) -> None:
        """Have its child connect and close."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(b"\n")
        self._program.stdin.flush()
        assert self._program.stdout.readline() == b"connected\n"

    def end(self) -> None:
        """End the server, whose requests fail then, so that the lock is freed."""
        os.kill(self._server, signal.SIGKILL)
        self._program.communicate()


def load_fuse() -> None:
    """Load the kernel's module. Some kernels have it built in."""
    if "\tfuse\n" not in Path("/proc/filesystems").read_text():
        subprocess.run(["modprobe", "fuse"], check=True)


@contextmanager
def held_process(directory: Path, port: str) -> Iterator[HeldProcess]:
    """Run the process. directory: an empty one, where the file system is mounted meanwhile."""
    command = [sys.executable, "-m", "tests.support.held_process", str(directory), port]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdout is not None
    held = HeldProcess(program, int(program.stdout.readline()))
    try:
        wait_until(lambda: Path(f"/proc/{held.pid}/stat").read_text().rpartition(")")[2].split()[0] == "D")
        yield held
    finally:
        held.end()
        subprocess.run(["umount", "--lazy", directory], check=True)


def _mount(directory: str) -> int:
    """Mount the file system; return the descriptor of its server."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"held", os.fsencode(directory), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    return fd


def _serve(fd: int, on_write: Callable[[], object]) -> None:
    """Answer all requests but writes, for ever."""
    while True:
        data = os.read(fd, 1 << 20)
        _, operation, unique, node, *_ = REQUEST.unpack_from(data)
        mode = 0o40755 if node == ROOT and operation != LOOKUP else 0o100666
        attributes = ATTRIBUTES.pack(FILE if operation == LOOKUP else node, 4096, *[0] * 7, mode, 1, *[0] * 5)
        answers = {
            INIT: struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 12, 9, 1 << 17, 1, 32, 0, *[0] * 8),
            LOOKUP: struct.pack("=4Q2I", FILE, 0, 3600, 3600, 0, 0) + attributes,
            GETATTR: struct.pack("=Q2I", 3600, 0, 0) + attributes,
            OPEN: struct.pack("=Q2I", 1, 0, 0),
            OPENDIR: struct.pack("=Q2I", 1, 0, 0),
            READ: bytes(4096),
        }
        if operation == WRITE:
            on_write()
        elif operation in answers:
            os.write(fd, ANSWER.pack(ANSWER.size + len(answers[operation]), 0, unique) + answers[operation])
        elif operation not in (FORGET, INTERRUPT):
            os.write(fd, ANSWER.pack(ANSWER.size, -38, unique))  # ENOSYS


def _connect(port: str) -> None:
    while sys.stdin.buffer.readline():
        socket.create_connection(("127.0.0.1", int(port))).close()
        os.write(1, b"connected\n")


def _in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return child


def _hold(path: str, writing: int, on_ready: Callable[[], object]) -> None:
    """Take the lock, and keep it until the server ends.

    Args:
        path: A file of the file system.
        writing: A descriptor that is readable once the server was asked to write.
        on_ready: Is called just before the lock is taken.
    """
    libc = ctypes.CDLL(None)  # whose functions leave Python to the other threads
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    both = mmap.PROT_READ | mmap.PROT_WRITE
    fd = os.open(path, os.O_RDWR)
    page = ctypes.c_void_p(libc.mmap(None, mmap.PAGESIZE, both, mmap.MAP_SHARED, fd, 0))
    libc.memset(page, 1, 1)
    threading.Thread(target=libc.msync, args=(page, mmap.PAGESIZE, MS_SYNC), daemon=True).start()
    os.read(writing, 1)
    second = threading.Thread(target=libc.memset, args=(page, 2, 1), daemon=True)
    second.start()
    waits = Path(f"/proc/self/task/{second.native_id}/stat")
    wait_until(lambda: waits.read_text().rpartition(")")[2].split()[0] == "D")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    on_ready()
    libc.mmap(page, mmap.PAGESIZE, mmap.PROT_READ, flags, -1, 0)


def main(directory: str, port: str) -> None:
    """Print the server's process id and take the lock."""
    writing, written = os.pipe()
    fd = _mount(directory)
    server = _in_child(lambda: _serve(fd, lambda: os.write(written, b"\n")))
    os.close(fd)
    _in_child(lambda: _connect(port))
    _hold(f"{directory}/file", writing, lambda: os.write(1, f"{server}\n".encode()))


if __name__ == "__main__":
    main(*sys.argv[1:])
