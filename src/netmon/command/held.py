"""A process that is started at once, but becomes its command only when netmon has marked it and is attached.

It is a plain child: in the same process group and session as its parent, and with the same signals, as if the parent
had executed the command itself.
"""

from __future__ import annotations

import errno
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from netmon.command import EXIT_NOT_STARTED

GO = b"g"
SHELL = "/bin/sh"


class HeldCommand:
    """A process that waits for leave to become the command.

    Attributes:
        pid: Its id, which the command will have.
    """

    def __init__(self, become: Callable[[], int]) -> None:
        """Start it.

        Args:
            become: Becomes the command, in the child. Returns an exit code if that is not possible.
        """
        read_end, go = os.pipe()  # neither is inherited by what is executed
        self._go: int | None = go
        self.pid = _fork()
        if self.pid == 0:
            os.close(go)
            _wait_and_become(read_end, become)
        os.close(read_end)

    def start(self) -> None:
        """Let it become the command. It may have been killed meanwhile."""
        if self._go is not None:
            with suppress(BrokenPipeError):
                os.write(self._go, GO)
        self.forget()

    def forget(self) -> None:
        """Close this process's end: if no process has it open and none has started the command, that exits.

        Idempotent.
        """
        if self._go is not None:
            os.close(self._go)
            self._go = None


def _fork() -> int:
    with warnings.catch_warnings():
        # Python warns if there are threads, whose locks the child may find locked. It takes none of them: it reads a
        # pipe and executes the command.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _wait_and_become(go: int, become: Callable[[], int]) -> NoReturn:
    """Wait for leave, and become the command. No exception leaves it: the caller's code is the parent's."""
    code = EXIT_NOT_STARTED
    try:
        if os.read(go, 1) == GO:
            code = become()
    finally:
        os._exit(code)


def execute(arguments: Sequence[str], environ: Mapping[str, str], blocked: Iterable[int]) -> NoReturn:
    """Become a command, with signals as a shell or subprocess would start it.

    Args:
        arguments: The command, which is looked for in the environment's PATH, and its arguments.
        environ: The environment.
        blocked: The signals that it does not take. Others that have come meanwhile come now.

    Raises:
        OSError: It cannot be executed.
    """
    _restore_signals(blocked)
    try:
        os.execvpe(arguments[0], list(arguments), environ)
    except OSError as error:
        if error.errno != errno.ENOEXEC:  # a script without #!: as execvp(3)
            raise
        import shutil  # seldom needed

        path = shutil.which(arguments[0], path=environ.get("PATH")) or arguments[0]
        os.execve(SHELL, [SHELL, path, *arguments[1:]], environ)
    raise AssertionError("execve() returns only if it fails")


def _restore_signals(blocked: Iterable[int]) -> None:
    """Take signals as before Python: it ignores two, and its handlers are not the command's."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
