"""Writes results to standard output, and messages to standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from netmon.errors import OutputError
from netmon.text import escape

STANDARD_OUTPUT = "standard output"


def say(text: object) -> None:
    """Write text to standard error, each line after the command's name; harmless, as it may quote others' text."""
    # Without standard error the text is dropped; print() would write it to standard output.
    if sys.stderr is not None:
        with suppress(OSError):
            for line in escape(str(text)).splitlines():
                print(f"netmon: {line}", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Write a result and a line end to standard output. Raises OutputError."""
    try:
        print(text)
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
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def describe(error: OSError) -> str:
    """Return an error's file, if it has one, and its reason."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
