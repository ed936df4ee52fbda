"""The command that `netmon exec` runs, as a shell would run it: its messages, its exit codes, and its user."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from netmon.cli.account import Account
from netmon.cli.console import describe, say
from netmon.cli.environment import given_environment
from netmon.command import EXIT_NOT_STARTED
from netmon.command.held import HeldCommand, execute

# As shells have it.
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126
SIGNALLED = 128  # and the signal's number


def hold_command(arguments: Sequence[str], account: Account | None, blocked: Iterable[int]) -> HeldCommand:
    """Start a command's process, which waits.

    Args:
        arguments: The command, and its arguments.
        account: The user whom it runs as; None: as netmon's.
        blocked: The signals that the command does not take. Until it is the command, those do not come either that
            the caller has blocked.
    """
    return HeldCommand(lambda: _become(arguments, account, blocked))


def _become(arguments: Sequence[str], account: Account | None, blocked: Iterable[int]) -> int:
    """Become the command; return the exit code if that is not possible, after saying why."""
    environ = given_environment()
    try:
        if account is not None:
            account.become()
            environ = account.environment(environ)
    except OSError as error:
        say(describe(error))
        return EXIT_NOT_STARTED
    try:
        execute(arguments, environ, blocked)
    except OSError as error:
        say(f"{arguments[0]}: {'not found' if error.errno == errno.ENOENT else error.strerror}")
        return EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_NOT_EXECUTABLE


def exit_code_of(status: int) -> int:
    """Return a command's exit code as shells do, by the status that waitpid() returns."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else SIGNALLED - code
