"""More events than netmon can read: it goes on, counts what it loses, and reports all events again afterwards."""

from __future__ import annotations

import signal
import subprocess

import pytest

from netmon import LostEvents, Monitor, NetworkEvent
from netmon.limits import DEFAULT_LINE_LIMIT
from tests.support.netmon_command import PROGRAMS, Netmon, counts_of
from tests.support.procfs import status_of
from tests.support.sockets import refused_connection

CONNECTIONS = 3000
RING = "64K"  # some 1,100 events


def flood() -> None:
    subprocess.run([PROGRAMS / "connect_load", "-n", str(CONNECTIONS)], check=True, capture_output=True)


@pytest.mark.oldest_and_newest
def test_events_after_a_flood_are_reported_and_its_losses_counted() -> None:
    """SIGSTOP during the flood stands for a machine on which netmon gets no processor time (bcc#3476)."""
    with Netmon("--ring-size", RING, anew=True) as netmon:
        netmon.process.send_signal(signal.SIGSTOP)
        flood()
        netmon.process.send_signal(signal.SIGCONT)
        # Once an event of the flood is written, the ring buffer was read and has room again.
        netmon.wait_until(lambda: netmon.events and netmon.losses, "LostEvents, and an event")
        cookie = refused_connection()
        netmon.wait_until(
            lambda: sum(event["network_event"]["cookie"] == cookie for event in netmon.events) == 2,
            "both events of the connection after the flood",
        )
        memory = int(status_of(netmon.process.pid)["VmHWM"][0])  # kB
        ended = netmon.stop()
    print(f"peak {memory} kB: {ended.stderr.splitlines()[-1]}")
    events, lost, missed = counts_of(ended.stderr)
    assert lost > 0
    assert sum(loss["count"] for loss in ended.losses) == lost
    counted = events + lost
    assert counted <= 4 * CONNECTIONS + 2 <= counted + missed
    assert memory < 64 << 10


@pytest.mark.oldest_and_newest
def test_a_process_with_endless_arguments_takes_little_memory() -> None:
    """Each \\x01 is six characters of JSON, and an emoji makes Python take four bytes for each of them."""
    argument = "\U0001f600" + "\x01" * (100 << 10)
    script = "for ((i = 0; i < 200; i++)); do true 3<> /dev/tcp/127.0.0.1/9; done"
    with Netmon(anew=True) as netmon:
        subprocess.run(["/bin/bash", "-c", script, argument], stderr=subprocess.DEVNULL)
        netmon.wait_until(lambda: len(netmon.events) >= 400, "an establish and a close of each connection")
        memory = int(status_of(netmon.process.pid)["VmHWM"][0])  # kB
        ended = netmon.stop()
    events = [event for event in ended.events if event["process"]["filename"] == "bash"]
    assert len(events) == 400
    assert {event["process"]["truncated"] for event in events} == {"args"}
    assert "args incomplete" in ended.stderr
    assert max(map(len, ended.stdout.splitlines(keepends=True))) <= DEFAULT_LINE_LIMIT
    assert memory < 64 << 10


@pytest.mark.once
def test_no_lost_events_leaves_them_out() -> None:
    with Netmon("--ring-size", RING, "--no-lost-events") as netmon:
        netmon.process.send_signal(signal.SIGSTOP)
        flood()
        netmon.process.send_signal(signal.SIGCONT)
        ended = netmon.stop()
    _, lost, _ = counts_of(ended.stderr)
    assert lost > 0
    assert not ended.losses


@pytest.mark.once
def test_losses_at_the_very_end_are_reported() -> None:
    with Monitor(any_kernel=True, ring_size=4096) as monitor:
        for _ in range(200):
            refused_connection()
        monitor.stop()
        events = list(monitor.events())
        losses = monitor.losses
    lost = [event.lost_events for event in events if isinstance(event, LostEvents)]
    assert losses.total == losses.ring_full + losses.over_budget > 0
    assert sum(report.count for report in lost) == losses.total
    assert len(events) - len(lost) + losses.total == 400


@pytest.mark.once
def test_connection_events_have_no_losses_among_them() -> None:
    """connection_events() yields nothing else, whatever is lost."""
    with Monitor(any_kernel=True, ring_size=4096) as monitor:
        for _ in range(200):
            refused_connection()
        assert {type(event) for event in monitor.connection_events(timeout=1.5)} == {NetworkEvent}
        assert monitor.losses.total
