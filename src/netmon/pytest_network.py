"""Watches the tests that are marked `network`: see netmon.pytest_plugin."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Generator, Iterable
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import pytest

from netmon import Config, LostEvents, Monitor, NetmonError, NetworkEvent
from netmon.errors import shorten
from netmon.terminal.cells import shorten as shorten_cells
from netmon.terminal.describe import endpoint
from netmon.text import escape_for_terminal

SHOWN = 10  # connections in a message
ARGS_SHOWN = 200  # cells of their processes' arguments
EXAMPLE = "write it like 127.0.0.0/8, [::1]:443, db:5432 or *:53"


class Allowed(NamedTuple):
    """What an item of `allow` allows.

    Attributes:
        networks: The addresses; None: any.
        port: The port; None: any.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] | None
    port: int | None

    def includes(self, address: str, port: int) -> bool:
        """Return whether a peer's address and port are allowed."""
        if self.port not in (None, port):
            return False
        return self.networks is None or any(ip_address(address) in network for network in self.networks)


def read_allow(marker: pytest.Mark) -> dict[str, Allowed]:
    """Return what a marker allows, by the items as they are written. Raises ValueError."""
    if marker.args or not marker.kwargs.keys() <= {"allow"}:
        raise ValueError("takes one argument: network(allow=['127.0.0.0/8'])")
    items = marker.kwargs.get("allow", ())
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise ValueError(f"allow={shorten(items)} is no list; write it like allow=['127.0.0.0/8']")
    return {str(item): read_item(str(item)) for item in items}


@cache  # a name is looked up once
def read_item(item: str) -> Allowed:
    """Return what an item of `allow` says. Raises ValueError."""
    host, port = item, ""
    if item.startswith("["):
        host, _, port = item[1:].partition("]")
        if port and not port.startswith(":"):
            raise ValueError(f"{shorten(item)} is no address and port; {EXAMPLE}")
        port = port[1:]
    elif item.count(":") == 1:
        host, _, port = item.partition(":")
    if port and not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ValueError(f"{shorten(item)} has no port from 0 to 65535; {EXAMPLE}")
    return Allowed(None if host == "*" else _networks_of(host), int(port) if port else None)


def _networks_of(host: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return (ip_network(host, strict=False),)
    except ValueError:
        if not host or "/" in host or ":" in host:
            raise ValueError(f"{shorten(host)} is neither an address, a CIDR nor a name; {EXAMPLE}") from None
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{shorten(host)} cannot be looked up: {getattr(error, 'strerror', None) or error}") from None
    return tuple({ip_network(str(address[0]).partition("%")[0]) for *_, address in found})


def open_monitor() -> Monitor:
    """Return a monitor of what this process and its descendants connect to, started. Raises NetmonError."""
    config = Config.from_dict(
        {
            "egress": {"enabled": True},
            "process_filter": {"descendants": [os.getpid()]},
            "report": {"events": ["establish"]},
        }
    )
    monitor = Monitor(config, any_kernel=os.environ.get("NETMON_ANY_KERNEL") == "1")
    monitor.start()
    return monitor


class NetworkWatch:
    """Watches each marked test while its function runs, by one monitor for all of them."""

    def __init__(self, *, required: bool) -> None:
        """Make it. required: fail where watching is not possible, in place of skipping."""
        self._required = required
        self._monitor: Monitor | None = None
        self._pid = 0  # the process that the monitor belongs to
        self._reason = ""  # why there cannot be one

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run a test; fail it if it connects to what its marker does not allow."""
        marker = item.get_closest_marker("network")
        if marker is None:
            return (yield)
        problem = ""
        try:
            allowed = read_allow(marker)
        except ValueError as error:
            problem = str(error)
        if problem:  # not amid the other error, which pytest would show, too
            pytest.fail(f"@pytest.mark.network: {problem}", pytrace=False)
        monitor = self._running()
        _read(monitor)  # what others have connected to before
        try:
            result = yield
        except BaseException:
            if message := self._check(monitor, allowed, item):
                item.add_report_section("call", "network", message)
            raise
        if message := self._check(monitor, allowed, item):
            pytest.fail(message, pytrace=False)
        return result

    def pytest_sessionfinish(self) -> None:
        """Close the monitor."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def _running(self) -> Monitor:
        """Return the monitor. Skips the test where there cannot be one, or fails it."""
        if self._monitor is None or self._pid != os.getpid():  # a forked process needs its own
            self._pid = os.getpid()
            if not self._reason:
                try:
                    self._monitor = open_monitor()
                except NetmonError as error:
                    self._reason = f"netmon cannot watch the network: {error}"
            if self._reason:
                if self._required:
                    pytest.fail(self._reason, pytrace=False)
                pytest.skip(self._reason)
        assert self._monitor is not None
        return self._monitor

    @staticmethod
    def _check(monitor: Monitor, allowed: dict[str, Allowed], item: pytest.Item) -> str:
        """Return a message about what is not allowed; "" if there is nothing."""
        connections, lost = _read(monitor)
        if lost:
            item.warn(pytest.PytestWarning(f"netmon lost {lost} events: this test may have connected to more"))
        wrong = Counter(
            _describe(event)
            for event in connections
            if not any(each.includes(event.network_event.daddr, event.network_event.dport) for each in allowed.values())
        )
        if not wrong:
            return ""
        lines = [f"  {text}{f' ({count} times)' if count > 1 else ''}" for text, count in wrong.most_common(SHOWN)]
        if len(wrong) > SHOWN:
            lines.append(f"  and {len(wrong) - SHOWN} more")
        names = ", ".join(allowed) or "nothing"
        return "\n".join([f"connected to what @pytest.mark.network does not allow, which is {names}:", *lines])


def _read(monitor: Monitor) -> tuple[list[NetworkEvent], int]:
    """Return the connections since the last call, and how many events may have been lost."""
    connections, lost = [], 0
    while events := monitor.poll(0):
        for event in events:
            if isinstance(event, NetworkEvent):
                connections.append(event)
            elif isinstance(event, LostEvents):
                lost += event.lost_events.count + event.lost_events.missed
    return connections, lost


def _describe(event: NetworkEvent) -> str:
    """Return a connection in words: harmless, for it has what others have chosen."""
    process, connection = event.process, event.network_event
    args = shorten_cells(escape_for_terminal(process.args), ARGS_SHOWN)
    name = escape_for_terminal(process.filename)
    return f"{name}[{process.pid}]{f' {args}' if args else ''} -> {endpoint(connection.daddr, connection.dport)}"
