"""Where the minimal object keeps connections: bpf/connection.h."""

from __future__ import annotations

import ctypes
from contextlib import closing

import pytest

from netmon.filters.compile import compile_filters
from netmon.kernel import libbpf
from netmon.kernel.probes import Probes
from netmon.layout import IPV4_EVENT, Ipv4Event
from tests.support.sockets import connect_pair, disconnect, listen

pytestmark = pytest.mark.core

TABLE_SIZE = 1 << 14  # bpf/maps.h
CONNECTION_SIZE = 256  # at least a struct connection


def kept_at(probes: Probes, cookie: int) -> int:
    """Return the cookie of the connection in the place where one with this cookie may be kept; 0: of none."""
    lookup = libbpf.library().bpf_map_lookup_elem
    value = ctypes.create_string_buffer(CONNECTION_SIZE)
    index = ctypes.c_uint32(cookie % TABLE_SIZE)
    assert lookup(probes._object.map_fd("connection_table"), ctypes.byref(index), value) == 0
    return Ipv4Event._make(IPV4_EVENT.unpack_from(value)).cookie


def test_a_place_is_taken_while_a_connection_is_open() -> None:
    with closing(Probes(compile_filters(None), 1 << 20)) as probes, listen() as listener:
        probes.attach()
        pair = connect_pair(listener, listener.getsockname())
        cookies = pair.client_cookie, pair.server_cookie
        assert [kept_at(probes, cookie) for cookie in cookies] == [*cookies]
        disconnect(pair.client)
        pair.client.connect(listener.getsockname())
        assert [kept_at(probes, cookie) for cookie in cookies] == [*cookies]
        pair.close()
        assert not {kept_at(probes, cookie) for cookie in cookies} & {*cookies}
