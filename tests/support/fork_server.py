"""Starts `netmon run` by a fork of a process that has imported all of netmon.

In an emulated guest Python takes longer to start and to import netmon than netmon takes to load its BPF programs, and
tests start netmon more than a hundred times. How Python starts is for the tests of the command and of its packages.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import IO, NoReturn

REQUEST_SIZE = 1 << 16


class ForkedProcess:
    """A process that the server has forked, with what tests need of subprocess.Popen."""

    def __init__(self, status: int) -> None:
        """Read its process id. status: the pipe from which its exit code can be read when it has ended."""
        self._status = os.fdopen(status, "rb", buffering=0)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, -N after signal N; None while the process runs."""
        return self._wait(0)

    def wait(self, timeout: float) -> int:
        """Wait for the end; return the exit code."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("netmon run", timeout)
        return code

    def _wait(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(arguments: Sequence[str], stdout: IO[bytes], stderr: IO[bytes]) -> ForkedProcess:
    """Start `netmon` with these arguments, on the CPUs that this process may use."""
    status, theirs = os.pipe()
    request = json.dumps([arguments, sorted(os.sched_getaffinity(0))]).encode()
    socket.send_fds(_connection(), [request], [stdout.fileno(), stderr.fileno(), theirs])
    os.close(theirs)
    return ForkedProcess(status)


@cache
def _connection() -> socket.socket:
    """Start the server, which ends with this process; return the socket on which it takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen([sys.executable, "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    return ours


def serve(connection: socket.socket) -> None:
    """Fork for each request, until the other end is closed."""
    import netmon

    for module in walk_packages(netmon.__path__, "netmon."):
        if not module.name.startswith(
            ("netmon.__main__", "netmon.pytest_", "netmon.top.", "netmon.forward.")
        ):  # what `netmon run` may need
            import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    while True:
        request, fds, _, _ = socket.recv_fds(connection, REQUEST_SIZE, 3)
        if not request:
            return
        if os.fork() == 0:
            _run_and_report(*json.loads(request), *fds)
        for fd in fds:
            os.close(fd)


def _run_and_report(arguments: Sequence[str], cpus: Sequence[int], stdout: int, stderr: int, status: int) -> NoReturn:
    """Run netmon in a child; write its process id and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        _run(arguments, cpus, stdout, stderr)
    os.write(status, b"%d\n" % pid)
    _, ended = os.waitpid(pid, 0)
    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))
    os._exit(0)


def _run(arguments: Sequence[str], cpus: Sequence[int], stdout: int, stderr: int) -> NoReturn:
    from netmon.cli.main import main

    os.sched_setaffinity(0, cpus)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.argv = ["netmon", *arguments]
    code = 1
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
