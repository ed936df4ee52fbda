"""Writes results to standard output, and messages to standard error."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

from netmon.errors import OutputError
from netmon.text import escape

STANDARD_OUTPUT = "standard output"
# Priorities of messages, as syslog(3) has them. The journal takes a message without one for INFO.
ERROR, WARNING = 3, 4
# How long (seconds) to wait for standard error to take a message: its reader may be stuck.
SAY_LIMIT = 5.0


def say(text: object, priority: int | None = None) -> None:
    """Write text to standard error, each line after the command's name; harmless, as it may quote others' text.

    It is dropped if standard error takes nothing.

    Args:
        text: One line or several.
        priority: ERROR or WARNING: the journal gets it, too, where standard error goes there.
    """
    # Without standard error the text is dropped, too; print() would write it to standard output.
    if sys.stderr is not None and _takes_messages():
        level = f"<{priority}>" if priority is not None and _goes_to_journal() else ""
        with suppress(OSError):
            for line in escape(str(text)).splitlines():
                print(f"{level}netmon: {line}", file=sys.stderr, flush=True)


def _goes_to_journal() -> bool:
    """Return whether standard error is the journal's stream: systemd then takes `<3>` off a line as its priority."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def say_help(text: str) -> None:
    """Write a help text to standard error as it is: nobody has asked for it, so it is no result."""
    if sys.stderr is not None and _takes_messages():
        with suppress(OSError):
            print(text, end="", file=sys.stderr, flush=True)


def _takes_messages() -> bool:
    """Wait until standard error has room, at most for SAY_LIMIT seconds; return whether it has."""
    room = select.poll()
    try:
        room.register(sys.stderr.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # it is not a file: Python code has replaced it
        return True
    return bool(room.poll(SAY_LIMIT * 1000))


def show(text: str) -> None:
    """Write a result and a line end to standard output. Raises OutputError."""
    try:
        print(text)
    except OSError as error:
        raise OutputError(STANDARD_OUTPUT, error) from error


def show_lines(lines: Iterable[str]) -> None:
    """Write lines, each with its newline, to standard output in UTF-8, whatever the locale. Raises OutputError."""
    try:
        sys.stdout.buffer.writelines(line.encode() for line in lines)
    except OSError as error:
        raise OutputError(STANDARD_OUTPUT, error) from error


def flush_results() -> None:
    """Flush standard output. Raises OutputError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(STANDARD_OUTPUT, error) from error


def discard_results() -> None:
    """Send the rest of standard output to /dev/null: at its exit Python flushes what is still buffered."""
    _discard(sys.stdout)


def discard_unwritable() -> None:
    """Discard what standard output and standard error do not take: Python would fail to flush it, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                _discard(stream)


def _discard(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def describe(error: OSError) -> str:
    """Return an error's file, if it has one, and its reason."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
