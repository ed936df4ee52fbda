"""Nothing is lost in silence."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

from tests.kernel.support import PROGRAMS, Netmon, types_of

CONNECTIONS = 50_000


def test_every_event_or_an_exact_count_of_the_lost() -> None:
    """50,000 connections in a row, with the default ring buffer."""
    with Netmon() as netmon:
        subprocess.run([PROGRAMS / "connect_load", "-n", str(CONNECTIONS)], check=True, stdout=subprocess.PIPE)
        ended = netmon.stop()
    assert ended.returncode == 0
    summary = re.search(r"(\d+) events, (\d+) lost", ended.stderr)
    assert summary, ended.stderr
    events, lost = map(int, summary.groups())
    assert events == len(ended.events)
    assert events + lost == 4 * CONNECTIONS
    if not lost:
        assert Counter(types_of(ended.events)) == {
            "Establish": CONNECTIONS,
            "Accept": CONNECTIONS,
            "Close": 2 * CONNECTIONS,
        }
