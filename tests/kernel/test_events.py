"""`report.events`: only the events that are asked for are sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from netmon import Config, Monitor
from tests.support.sockets import connect_pair, listen, refused_connection

CLOSES = "TcpConnectionClose"


def monitor_of(*events: str, **options: bool) -> Monitor:
    on = {"enabled": True}
    config = {"ingress": on, "egress": on, "report": {**options, "events": events}}
    return Monitor(Config.from_dict(config), any_kernel=True)


def seen(monitor: Monitor) -> Iterator[tuple[str, int]]:
    """Stop the monitor, and yield the type and the socket of each event."""
    monitor.stop()
    for event in monitor:
        yield event.network_event.type, event.network_event.cookie


@pytest.mark.core
def test_closes_with_statistics_are_a_line_for_each_connection() -> None:
    with listen() as listener, monitor_of("close", statistics=True) as monitor:
        pair = connect_pair(listener, listener.getsockname())
        pair.client.sendall(b"12345")
        assert pair.server.recv(5, socket.MSG_WAITALL) == b"12345"
        pair.close()
        refused = refused_connection()
        monitor.stop()
        events = [event.network_event for event in monitor]
        losses = monitor.losses
        read = monitor.counters.connection_events
    assert [(event.type, event.cookie) for event in events] == [
        (CLOSES, pair.client_cookie),
        (CLOSES, pair.server_cookie),
        (CLOSES, refused),
    ]
    assert (events[0].bytes_sent, events[1].bytes_received) == (5, 5)
    assert events[0].duration_us and events[1].duration_us
    assert (losses.total, read) == (0, 3)


@pytest.mark.parametrize(
    ("events", "options", "expected"),
    [
        (("establish",), {}, ["establish", "refused establish"]),
        (("accept", "close"), {}, ["accept", "close", "close", "refused close"]),
        (("establish",), {"outcome": True}, ["establish"]),
        (("fail",), {"outcome": True}, ["refused fail"]),
        (("close",), {"outcome": True}, ["close", "close"]),
        (("close",), {"existing": True, "context": True, "opener": True}, ["close", "close", "refused close"]),
    ],
)
def test_events_that_are_not_asked_for_are_not_sent(
    events: tuple[str, ...], options: dict[str, bool], expected: list[str]
) -> None:
    with listen() as listener, monitor_of(*events, **options) as monitor:
        pair = connect_pair(listener, listener.getsockname())
        pair.close()
        refused = refused_connection()
        reported = [
            f"{'refused ' * (cookie == refused)}{kind.removeprefix('TcpConnection').lower()}"
            for kind, cookie in seen(monitor)
        ]
        losses = monitor.losses
    assert reported == expected
    assert losses.total == 0


@pytest.mark.once
def test_connections_that_were_open_before_have_closes_without_being_listed() -> None:
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        with monitor_of("close", existing=True, statistics=True) as monitor:
            assert not list(monitor.connection_events(timeout=0.5))  # the walk has ended
            pair.close()
            assert list(seen(monitor)) == [(CLOSES, pair.client_cookie), (CLOSES, pair.server_cookie)]


@pytest.mark.once
def test_what_is_not_sent_is_not_lost() -> None:
    """4 KiB hold a few closes: the count is of closes alone."""
    config = Config.from_dict({"egress": {"enabled": True}, "report": {"events": ["close"]}})
    with Monitor(config, any_kernel=True, ring_size=4096) as monitor:
        for _ in range(300):
            refused_connection()
        events = list(seen(monitor))
        losses = monitor.losses
    assert 0 < len(events) < 300
    assert len(events) + losses.total == 300
