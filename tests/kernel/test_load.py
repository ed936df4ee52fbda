"""Nothing is lost in silence."""

from __future__ import annotations

import subprocess

from tests.kernel.support import PROGRAMS, Netmon, counts_of, status_of

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
    events, lost, missed = counts_of(ended.stderr)
    assert events == ended.stdout.count(b"\n")
    assert events + lost <= 4 * CONNECTIONS <= events + lost + missed
    counts = {kind: ended.stdout.count(b'"TcpConnection%s"' % kind) for kind in (b"Establish", b"Accept", b"Close")}
    if events == 4 * CONNECTIONS:
        assert counts == {b"Establish": CONNECTIONS, b"Accept": CONNECTIONS, b"Close": 2 * CONNECTIONS}
