"""What the command writes: results to standard output, all else to standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from netmon.errors import OutputError

STANDARD_OUTPUT = "standard output"


def say(text: object) -> None:
    """Write text to standard error, each line after the command's name."""
    # Without standard error there is nowhere to write to; print() would take standard output instead.
    if sys.stderr is not None:
        with suppress(OSError):
            for line in str(text).splitlines():
                print(f"netmon: {line}", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Write a result and a line end to standard output. Raises OutputError."""
    try:
        print(text)
    except OSError as error:
        raise OutputError(STANDARD_OUTPUT, error) from error


def flush_results() -> None:
    """Write what Python still holds back of standard output. Raises OutputError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(STANDARD_OUTPUT, error) from error


def discard_results() -> None:
    """Send the rest of standard output to /dev/null: Python writes what it holds back when it exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def describe(error: OSError) -> str:
    """Return what failed, if the error knows it, and why."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
