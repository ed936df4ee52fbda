"""Reads events from standard input, counts them, and stalls now and then: `python3 -m bench.reader [EVENTS SECONDS]`.

It takes nothing for SECONDS after each EVENTS lines. At the end it prints what it has counted, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import BinaryIO

LOST = b'{"type":"LostEvents"'
ENDS = (b'"type":"TcpConnectionEstablish"', b'"type":"TcpConnectionAccept"', b'"type":"TcpConnectionClose"')
SIZE = 1 << 20  # bytes of lines that are read at once


def count(lines: BinaryIO, every: int, seconds: float) -> dict[str, int]:
    """Return the events of openings and closes, what LostEvents count, and the lines of other kinds.

    Args:
        lines: Lines of JSON.
        every: After how many lines to stall; 0: never.
        seconds: For how long.
    """
    counts = {"written": 0, "lost": 0, "missed": 0, "other": 0}
    read = 0
    while some := lines.readlines(SIZE):
        for line in some:
            if any(mark in line for mark in ENDS):
                counts["written"] += 1
            elif line.startswith(LOST):
                losses = json.loads(line)["lost_events"]
                counts["lost"] += losses["count"]
                counts["missed"] += losses["missed"]
            else:
                counts["other"] += 1
        if every and (read + len(some)) // every > read // every:
            time.sleep(seconds)
        read += len(some)
    return counts


if __name__ == "__main__":
    every, seconds = (int(sys.argv[1]), float(sys.argv[2])) if sys.argv[2:] else (0, 0.0)
    print(json.dumps(count(sys.stdin.buffer, every, seconds)))
