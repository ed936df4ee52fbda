"""The command that `netmon exec` runs: started at once, but held until netmon has marked it and is attached.

It is a plain child: in the same process group and session, with the same descriptors and the same signals as if the
shell had started it.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from netmon.cli import EXIT_NOT_STARTED
from netmon.cli.account import Account
from netmon.cli.console import describe, say

# As shells have it.
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126
SIGNALLED = 128  # and the signal's number

GO = b"g"
SHELL = "/bin/sh"


class Command:
    """A process that waits for leave to become the command.

    Attributes:
        pid: Its id, which the command will have.
    """

    def __init__(self, arguments: Sequence[str], account: Account | None, blocked: Iterable[int]) -> None:
        """Start it.

        Args:
            arguments: The command, and its arguments.
            account: The user whom it runs as; None: as netmon's.
            blocked: The signals that the command does not take. Until it is the command, those do not come either
                that the caller has blocked.
        """
        self._go, go = _pipe_to_child()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            _wait_and_exec(go, arguments, account, blocked)
        os.close(go)

    def start(self) -> None:
        """Let it become the command. It may have been killed meanwhile."""
        with suppress(BrokenPipeError):
            os.write(self._go, GO)
        self.forget()

    def forget(self) -> None:
        """Close this process's end: if no process has it open and none has started the command, that exits."""
        os.close(self._go)


def _pipe_to_child() -> tuple[int, int]:
    """Return a pipe's ends: to write to, and to read from."""
    read_end, write_end = os.pipe()  # neither is inherited by what is executed
    return write_end, read_end


def _wait_and_exec(go: int, arguments: Sequence[str], account: Account | None, blocked: Iterable[int]) -> NoReturn:
    """Wait for leave, and become the command. No exception leaves it: the caller's code is the parent's."""
    code = EXIT_NOT_STARTED
    try:
        if os.read(go, 1) == GO:
            _restore_signals(blocked)
            environ: Mapping[str, str] = os.environ
            if account is not None:
                account.become()
                environ = account.environment(environ)
            code = _exec(arguments, environ)
    except OSError as error:
        say(describe(error))
    finally:
        os._exit(code)


def _restore_signals(blocked: Iterable[int]) -> None:
    """Take signals as before netmon. Those that came meanwhile come now: Ctrl-C during netmon's start, say."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _exec(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Become the command; return the exit code if that is not possible, after saying why."""
    name = arguments[0]
    try:
        os.execvpe(name, list(arguments), environ)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without #!: as execvp(3)
            import shutil  # seldom needed

            path = shutil.which(name, path=environ.get("PATH")) or name
            os.execve(SHELL, [SHELL, path, *arguments[1:]], environ)
        say(f"{name}: {'not found' if error.errno == errno.ENOENT else error.strerror}")
        return EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_NOT_EXECUTABLE


def exit_code_of(status: int) -> int:
    """Return a command's exit code as shells do, by the status that waitpid() returns."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else SIGNALLED - code
