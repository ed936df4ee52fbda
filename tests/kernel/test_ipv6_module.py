"""A kernel whose IPv6 is a module (CONFIG_IPV6=m). No kernel here is one: netmon is told that this one is.

A module's own functions cannot be hooked: it may be loaded later, and that would take CAP_SYS_ADMIN.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

import pytest

from netmon import Config, Monitor
from netmon.kernel import probes
from netmon.kernel.features import Features, read_features
from netmon.kernel.programs import V6_CONNECT
from tests.support.sockets import cookie_of

ADDRESSES = {
    "::1": (socket.AF_INET6, "::1"),
    "::ffff:127.0.0.1": (socket.AF_INET6, "::ffff:127.0.0.1"),
    "127.0.0.1": (socket.AF_INET, "127.0.0.1"),
}


def without_module(functions: Iterable[str]) -> Features:
    """Return this kernel's features, without the function that would be in the module."""
    features = read_features(functions)
    return features._replace(functions=features.functions - {V6_CONNECT.hook})


@pytest.mark.core
@pytest.mark.parametrize("report", [{}, {"outcome": True}], ids=["plain", "outcome"])
def test_ipv6_of_a_module_is_reported_once(monkeypatch: pytest.MonkeyPatch, report: dict[str, Any]) -> None:
    """So are IPv4 connections, which go through the same function of the kernel."""
    monkeypatch.setattr(probes, "read_features", without_module)
    config = Config.from_dict({"ingress": {"enabled": True}, "egress": {"enabled": True}, "report": report})
    cookies: dict[int, str] = {}
    with Monitor(config, any_kernel=True) as monitor:
        names = {info.name for info in monitor.program_infos()}
        for name, (family, address) in ADDRESSES.items():
            with socket.socket(family) as listener, socket.socket(family) as client:
                listener.bind((address, 0))
                listener.listen()
                client.connect(listener.getsockname())
                cookies[cookie_of(client)] = name
                listener.accept()[0].close()
        monitor.stop()
        events = [event.network_event for event in monitor if event.network_event.cookie in cookies]
    assert V6_CONNECT.name not in names
    for cookie, name in cookies.items():
        mine = [event for event in events if event.cookie == cookie]
        assert [event.type for event in mine] == ["TcpConnectionEstablish", "TcpConnectionClose"]
        assert {event.daddr for event in mine} == {name.removeprefix("::ffff:")}
