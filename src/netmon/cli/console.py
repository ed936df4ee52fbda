"""What the command says to whoever runs it."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(text: object) -> None:
    """Write a line to standard error: each of the text's, after the command's name."""
    # Without standard error nobody can be told; print() would take standard output instead.
    if sys.stderr is not None:
        with suppress(OSError):
            for line in str(text).splitlines():
                print(f"netmon: {line}", file=sys.stderr, flush=True)
