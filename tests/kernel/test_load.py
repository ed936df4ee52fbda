"""Nothing is lost in silence."""

from __future__ import annotations

import re
import subprocess

from tests.kernel.support import PROGRAMS, Netmon, status_of

CONNECTIONS = 50_000


def test_every_event_or_an_exact_count_of_the_lost() -> None:
    """50,000 connections in a row, with the default ring buffer."""
    with Netmon() as netmon:
        load = subprocess.run(
            [PROGRAMS / "connect_load", "-n", str(CONNECTIONS)], check=True, capture_output=True, text=True
        )
        peak = " ".join(status_of(netmon.process.pid)["VmHWM"])
        ended = netmon.stop()
    print(f"{CONNECTIONS} connections in {load.stdout.split()[1]} s, peak {peak}: {ended.stderr.splitlines()[-1]}")
    assert ended.returncode == 0
    summary = re.search(r"(\d+) events, (\d+) lost", ended.stderr)
    assert summary, ended.stderr
    events, lost = map(int, summary.groups())
    assert events == ended.stdout.count(b"\n")
    assert events + lost == 4 * CONNECTIONS
    counts = {kind: ended.stdout.count(b'"TcpConnection%s"' % kind) for kind in (b"Establish", b"Accept", b"Close")}
    if not lost:
        assert counts == {b"Establish": CONNECTIONS, b"Accept": CONNECTIONS, b"Close": 2 * CONNECTIONS}
