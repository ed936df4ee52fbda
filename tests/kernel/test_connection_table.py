"""The table in which the minimal object keeps open connections (bpf/connection.h)."""

from __future__ import annotations

import ctypes
from contextlib import closing

import pytest

from netmon.filters.compile import compile_filters
from netmon.kernel import libbpf
from netmon.kernel.probes import Probes
from netmon.layout import IPV4_EVENT, Ipv4Event, TableSize
from tests.support.sockets import connect_pair, disconnect, listen

pytestmark = pytest.mark.core


def kept_at(probes: Probes, cookie: int) -> int:
    """Return the cookie in the only entry that may hold the connection with this cookie; 0: the entry is free."""
    library, name = libbpf.library(), "connection_table"
    value = ctypes.create_string_buffer(library.bpf_map__value_size(probes._object._map(name)))
    index = ctypes.c_uint32(cookie % TableSize.CONNECTION_TABLE_SIZE)
    assert library.bpf_map_lookup_elem(probes._object.map_fd(name), ctypes.byref(index), value) == 0
    return Ipv4Event._make(IPV4_EVENT.unpack_from(value)).cookie


def test_a_connection_has_an_entry_while_it_is_open() -> None:
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
