"""The process that the shell waits for while `netmon exec` runs: the parent of the command and of the watcher.

    supervisor  --->  command   what the user asked for
                --->  watcher   netmon itself, which gives up its rights

The watcher decodes what processes choose, so it may not signal any. The supervisor passes signals on to the command,
which may be another user's, and does nothing else. If the watcher fails, the command goes on.

Signals from the terminal go to the whole process group: to the command without help.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from netmon.cli import EXIT_UNEXPECTED
from netmon.cli.command import exit_code_of
from netmon.command import EXIT_NOT_STARTED
from netmon.command.held import HeldCommand

ENDED, STOP = b"e", b"s"  # to the watcher: the command has ended; do not wait for its descendants

PASSED_ON = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
# SIGTTOU: the command may be a shell that puts itself into the foreground. Blocked, it keeps nobody from writing.
BLOCKED = {*PASSED_ON, signal.SIGCHLD, signal.SIGTTOU}
SI_KERNEL = 0x80  # asm-generic/siginfo.h: not sent by a process, but by the terminal


class Supervisor:
    """Waits for a command and its watcher, with the signals of BLOCKED blocked."""

    def __init__(self, command: HeldCommand, watcher: int, to_watcher: int, *, expects: bool = False) -> None:
        """Make it.

        Args:
            command: The command.
            watcher: The watcher's process id.
            to_watcher: The pipe to the watcher.
            expects: Whether the exit code says if the watcher saw something that is not expected.
        """
        self._expects = expects
        self._watched_to = 0  # the watcher's exit code
        self._command: int | None = command.pid
        self._watcher: int | None = watcher
        self._to_watcher = to_watcher
        self._code = 0
        self._stopping = False

    def wait(self) -> int:
        """Wait until both have ended; return the command's exit code, or what the expectation makes of it."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would have the kernel forget the exit codes
        while self._command or self._watcher:
            self._reap()
            if self._command or self._watcher:
                info = signal.sigwaitinfo(BLOCKED - {signal.SIGTTOU})
                if info.si_signo in PASSED_ON:
                    self._take(info)
        return _code_of(self._code, self._watched_to) if self._expects else self._code

    def _reap(self) -> None:
        for pid in filter(None, (self._command, self._watcher)):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended and pid == self._command:
                self._command = None
                self._code = exit_code_of(status)
                self._tell(ENDED)
            elif ended:
                self._watcher = None
                self._watched_to = exit_code_of(status)

    def _take(self, info: signal.struct_siginfo) -> None:
        """Pass a signal on to the command; once that has ended, end the watcher, too."""
        if self._command is not None:
            if info.si_code != SI_KERNEL:
                os.kill(self._command, info.si_signo)
        elif self._watcher is not None:
            if self._stopping:  # the second one: its output may be stuck
                os.kill(self._watcher, signal.SIGKILL)
            self._stopping = True
            self._tell(STOP)

    def _tell(self, what: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._to_watcher, what)


def _code_of(command: int, watcher: int) -> int:
    """Return the exit code of a command that shall do nothing unexpected, by that of the command and the watcher.

    A watcher that has failed does not know. So the command's success does not count.
    """
    if watcher == EXIT_UNEXPECTED:
        return EXIT_UNEXPECTED
    return command or (EXIT_NOT_STARTED if watcher else 0)
