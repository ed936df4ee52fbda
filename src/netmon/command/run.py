"""A command that a program runs, and the monitor of its connections: what Monitor.exec() returns."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Generic, Protocol, TypeVar

from netmon.command import EXIT_NOT_STARTED
from netmon.command.descendants import Following, wait_for_descendants
from netmon.command.held import HeldCommand, execute
from netmon.errors import ArgumentError, NetmonError, shorten

if TYPE_CHECKING:
    from netmon.events import Event, NetworkEvent
    from netmon.reader.stream import Stream

Stdio = int | IO[bytes] | IO[str] | None
STREAMS = ("stdin", "stdout", "stderr")
NUMBER_SIZE = 4  # bytes of an error number in a pipe


class Watch(Following, Protocol):
    """What a run needs of its monitor."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def connection_events(self, timeout: float | None = None) -> Stream[NetworkEvent]: ...

    def events(self, timeout: float | None = None) -> Stream[Event]: ...

    def json_lines(self, timeout: float | None = None) -> Stream[list[str]]: ...


M = TypeVar("M", bound=Watch)


class CommandRun(Generic[M]):
    """A command with a monitor of its connections and of those of all its descendants.

        with Monitor.exec(["make", "-j4"]) as run:
            for event in run:
                print(event.process.args, event.network_event.daddr)
        print(run.returncode)

    Iterations end when the command has ended and its events are read. Leaving the with statement waits for the
    command, after killing it if an exception ends the statement.

    Attributes:
        returncode: The command's exit code, -N after signal N as in subprocess; None while it runs.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        make_monitor: Callable[[int], M],
        *,
        stdio: Mapping[str, Stdio],
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        wait_all: bool,
    ) -> None:
        """Prepare a run: see Monitor.exec(). make_monitor: returns a monitor that follows this process id."""
        if isinstance(arguments, str | bytes) or not arguments:
            example = "['curl', 'https://example.com/']"
            raise ArgumentError("arguments", f"{shorten(arguments)} is no list with a command; write it like {example}")
        for name, stream in stdio.items():
            if stream == subprocess.PIPE or (stream == subprocess.STDOUT and name != "stderr"):
                raise ArgumentError(
                    name, "takes an open file, a descriptor or subprocess.DEVNULL; for a pipe see os.pipe()"
                )
        self.returncode: int | None = None
        self._arguments = [os.fspath(argument) for argument in arguments]
        self._make_monitor = make_monitor
        self._stdio = [stdio.get(name) for name in STREAMS]
        self._cwd = cwd
        self._env = env
        self._wait_all = wait_all
        self._pid: int | None = None
        self._monitor: M | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()  # a signal is sent only to a process that has not been waited for

    @property
    def monitor(self) -> M:
        """The monitor, for its further methods. Raises NetmonError before the start."""
        if self._monitor is None:
            raise NetmonError("this command was not started: use it in a with statement")
        return self._monitor

    @property
    def pid(self) -> int:
        """The command's process id. Raises NetmonError before the start."""
        if self._pid is None:
            raise NetmonError("this command was not started: use it in a with statement")
        return self._pid

    def __enter__(self) -> CommandRun[M]:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is not None:
                self.kill()
            self.wait()
        finally:
            self.close()

    def start(self) -> None:
        """Attach netmon, and start the command.

        Raises:
            OSError: The command cannot be executed, as of subprocess.
            NetmonError: The monitor cannot start, as of Monitor.start(); or this has been started already.
        """
        if self._pid is not None:
            raise NetmonError("this command has been started already: make another one by Monitor.exec()")
        failures, failed = os.pipe()
        with ExitStack() as cleanup:
            cleanup.callback(os.close, failures)
            held = self._hold(failed)
            with ExitStack() as undo:
                undo.callback(self._end_held, held)
                monitor = self._make_monitor(held.pid)
                undo.callback(monitor.close)
                monitor.start()
                held.start()
                # Nothing comes once the command was executed, which closes the pipe.
                if number := int.from_bytes(os.read(failures, NUMBER_SIZE), "little"):
                    raise self._failure(number)
                pidfd = os.pidfd_open(held.pid)  # its own child, which nobody else waits for
                undo.pop_all()
        self._monitor = monitor
        threading.Thread(target=self._wait_for_end, args=(pidfd, monitor), daemon=True).start()

    def _hold(self, failed: int) -> HeldCommand:
        """Start the process. failed: is closed here; the child writes there why the command cannot be executed."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            held = HeldCommand(lambda: self._become(failed, blocked))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(failed)
        self._pid = held.pid
        return held

    def _end_held(self, held: HeldCommand) -> None:
        with suppress(ProcessLookupError):
            os.kill(held.pid, signal.SIGKILL)
        self._reap()
        held.forget()

    def _failure(self, number: int) -> OSError:
        cwd = self._cwd
        wrong = self._arguments[0] if cwd is None or os.path.isdir(cwd) else os.fspath(cwd)
        return OSError(number, os.strerror(number), wrong)

    def _become(self, failed: int, blocked: Collection[int]) -> int:
        """Become the command, in the child; else write the error's number to a pipe."""
        try:
            self._set_up_streams()
            if self._cwd is not None:
                os.chdir(self._cwd)
            execute(self._arguments, os.environ if self._env is None else self._env, blocked)
        except OSError as error:
            os.write(failed, (error.errno or errno.EIO).to_bytes(NUMBER_SIZE, "little"))
        return EXIT_NOT_STARTED

    def _set_up_streams(self) -> None:
        # First away from the numbers 0 to 2, which are replaced one after the other.
        moved = {
            number: fcntl.fcntl(_descriptor(stream), fcntl.F_DUPFD_CLOEXEC, len(STREAMS))
            for number, stream in enumerate(self._stdio)
            if stream not in (None, subprocess.STDOUT)
        }
        for number, fd in moved.items():
            os.dup2(fd, number)
        if self._stdio[-1] == subprocess.STDOUT:
            os.dup2(1, 2)

    def _wait_for_end(self, pidfd: int, monitor: M) -> None:
        """Wait for the command, in a thread, and if asked for its descendants; then stop the monitor."""
        try:
            select.select([pidfd], [], [])
            self._reap()
            if self._wait_all:
                wait_for_descendants(monitor)
        except NetmonError:  # the monitor was closed meanwhile
            pass
        finally:
            os.close(pidfd)
            monitor.stop()

    def _reap(self) -> None:
        """Wait for the command, which has ended or is about to, and keep its exit code."""
        with self._lock:
            if self.returncode is None:
                try:
                    self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                except ChildProcessError:  # somebody else has, or SIGCHLD is ignored: as subprocess has it
                    self.returncode = 0
        self._ended.set()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the command's end; events need not be read meanwhile, but the ring buffer may fill.

        Args:
            timeout: Seconds; None: without end.

        Returns:
            The exit code.

        Raises:
            subprocess.TimeoutExpired: The command still runs.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, if it has not ended."""
        with self._lock:
            if self.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM to the command."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the command."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the monitor. The command goes on. Idempotent."""
        if self._monitor is not None:
            self._monitor.close()

    def __iter__(self) -> Iterator[NetworkEvent]:
        """Yield connection events until the command has ended."""
        return iter(self.connection_events())

    def __aiter__(self) -> AsyncIterator[NetworkEvent]:
        """Yield connection events until the command has ended, in asyncio's event loop."""
        return aiter(self.connection_events())

    def connection_events(self, timeout: float | None = None) -> Stream[NetworkEvent]:
        """Yield connection events, as Monitor.connection_events() does, until the command has ended."""
        return self.monitor.connection_events(timeout)

    def events(self, timeout: float | None = None) -> Stream[Event]:
        """Yield events of every type, as Monitor.events() does, until the command has ended."""
        return self.monitor.events(timeout)

    def json_lines(self, timeout: float | None = None) -> Stream[list[str]]:
        """Yield batches of events as JSON, as Monitor.json_lines() does, until the command has ended."""
        return self.monitor.json_lines(timeout)


def _descriptor(stream: Stdio) -> int:
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR)
    return stream if isinstance(stream, int) else stream.fileno()  # type: ignore[union-attr]
