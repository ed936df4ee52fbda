"""The library: monitors in the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from netmon import Config, Monitor, NetmonError, NetworkEvent
from netmon.kernel.programs import DESTROY, MPTCP_DESTROY, PULSE
from netmon.report import OPTIONS
from tests.support.filtered_monitors import events_so_far
from tests.support.sockets import listen, refused_connection


@pytest.fixture(scope="module")
def running() -> Iterator[Monitor]:
    """A monitor that runs for all tests of this module that neither stop it nor need another one."""
    with Monitor(any_kernel=True) as monitor:
        yield monitor


@pytest.fixture
def monitor(running: Monitor) -> Monitor:
    """The running monitor, which has no events yet."""
    events_so_far(running)
    return running


@pytest.mark.core
def test_events_are_models(monitor: Monitor) -> None:
    cookie = refused_connection()
    events = list(monitor.connection_events(timeout=0.5))
    assert all(isinstance(event, NetworkEvent) for event in events)
    assert [(event.network_event.type, event.network_event.cookie) for event in events] == [
        ("TcpConnectionEstablish", cookie),
        ("TcpConnectionClose", cookie),
    ]
    assert NetworkEvent.model_validate_json(events[0].model_dump_json()) == events[0]


@pytest.mark.once
def test_a_timeout_ends_an_iteration_without_events(monitor: Monitor) -> None:
    start = time.monotonic()
    assert list(monitor.connection_events(timeout=0.3)) == []
    assert time.monotonic() - start >= 0.3


@pytest.mark.once
def test_stop_from_another_thread_ends_an_iteration_after_all_events() -> None:
    with Monitor(any_kernel=True) as monitor:
        refused_connection()
        threading.Timer(0.2, monitor.stop).start()
        assert len(list(monitor)) == 2
        refused_connection()  # not reported: the probes are detached
        assert list(monitor) == []


def test_a_single_event_arrives_soon(monitor: Monitor) -> None:
    events = iter(monitor)
    delays = []
    for _ in range(5):
        made = time.monotonic()
        refused_connection()
        assert next(events).network_event.type == "TcpConnectionEstablish"
        delays.append(time.monotonic() - made)
        assert next(events).network_event.type == "TcpConnectionClose"
    assert min(delays) < 0.2  # the delay of a batch is 0.08 s; emulation adds to it


@pytest.mark.once
def test_an_iteration_that_breaks_off_loses_nothing(monitor: Monitor) -> None:
    cookies = [refused_connection() for _ in range(50)]
    seen = [next(iter(monitor)).network_event.cookie for _ in range(30)]
    seen += [event.network_event.cookie for event in events_so_far(monitor)]
    assert seen == [cookie for cookie in cookies for _ in ("establish", "close")]


@pytest.mark.once
def test_a_monitor_can_be_started_again() -> None:
    monitor = Monitor(any_kernel=True)
    for _ in range(2):
        with monitor:
            refused_connection()
            monitor.stop()
            assert len(list(monitor)) == 2


@pytest.mark.once
def test_closing_while_iterating_ends_it() -> None:
    with Monitor(any_kernel=True) as monitor:
        cookie = refused_connection()
        seen = []
        for event in monitor:
            seen.append(event.network_event.cookie)
            monitor.close()
        assert seen == [cookie, cookie]  # what was read already
        assert monitor.finished
        monitor.close()
        assert monitor.counters.bytes_waiting == 0


@pytest.mark.once
def test_more_descriptors_than_select_takes_are_fine() -> None:
    files = [open("/dev/null") for _ in range(1100)]
    with Monitor(any_kernel=True) as monitor:
        refused_connection()
        assert len(list(monitor.connection_events(timeout=1))) == 2
    for file in files:
        file.close()


def test_two_monitors_run_in_one_process(monitor: Monitor) -> None:
    egress = Config.from_dict({"egress": {"enabled": True}})
    with listen() as listener, Monitor(egress, any_kernel=True) as other:
        client = socket.create_connection(listener.getsockname())
        listener.accept()[0].close()
        client.close()
        other.stop()
        assert len(list(other)) == 2
    assert len(events_so_far(monitor)) == 4


@pytest.mark.core
def test_a_process_is_described_before_its_events_whichever_thread_is_first() -> None:
    """The monitor has not seen this process before."""
    barrier = threading.Barrier(16)

    def connect() -> None:
        barrier.wait()
        for _ in range(20):
            refused_connection()

    with Monitor(any_kernel=True) as monitor:
        threads = [threading.Thread(target=connect) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monitor.stop()
        events = list(monitor)
    assert monitor.losses.total == 0
    assert len(events) <= 16 * 20 * 2 <= len(events) + monitor.losses.missed


@pytest.mark.once
def test_a_monitor_is_used_only_while_it_runs(running: Monitor) -> None:
    monitor = Monitor(any_kernel=True)
    with pytest.raises(NetmonError, match="with statement"):
        next(iter(monitor))
    monitor.close()
    with pytest.raises(NetmonError, match="already"):
        running.start()


@pytest.mark.core
def test_events_that_do_not_fit_the_ring_buffer_are_counted() -> None:
    """The count is exact. 4 KiB hold about 70 events."""
    with Monitor(any_kernel=True, ring_size=4096) as monitor:
        for _ in range(500):
            refused_connection()
        monitor.stop()
        events = list(monitor)
        losses = monitor.losses
    assert 0 < len(events) < 1000
    assert len(events) + losses.total == 1000
    assert losses.total == losses.ring_full + losses.over_budget


ALL = {
    "ingress": {"enabled": True},
    "egress": {"enabled": True},
    "report": {**dict.fromkeys(OPTIONS, True), "progress": "1h", "ancestors": 16},
}


@pytest.mark.core
def test_programs_are_small(running: Monitor, kernel: str) -> None:
    """The verifier goes through few instructions, on the oldest and the newest kernel; fewer without filters."""
    with Monitor(Config.everything(), any_kernel=True) as monitor:
        infos, smaller = (each.program_infos() for each in (monitor, running))
        with pytest.raises(NetmonError, match="without a configuration"):
            running.reload(Config.everything())
    for info, less in zip(infos, smaller, strict=True):
        if info.name in (PULSE.name, DESTROY.name, MPTCP_DESTROY.name):  # they have nothing to filter
            continue
        print(kernel, info, less)
        assert 0 < less.verified_instructions < info.verified_instructions < 20_000


@pytest.mark.core
def test_programs_are_small_with_every_option(kernel: str) -> None:
    """And with rules, whose code is loaded only if there are any."""
    rules = [{"rule": "web", "when": 'port_dst == 80 AND binary_name == "curl"'}]
    with Monitor(Config.from_dict({**ALL, "rules": rules}), any_kernel=True) as monitor:
        for info in monitor.program_infos():
            print(kernel, info)
            assert (
                0 < info.verified_instructions < 70_000
            )  # most on 6.1: 64,100, of mptcp_connect(); 52,200 without rules
