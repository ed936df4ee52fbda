"""Where open connections are kept (bpf/connection.h): the table, the overflow, and what happens without room in either.

The probes' own view of the maps: what is there while a connection is open, and that nothing stays.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from netmon import Config, Losses, Monitor, NetworkEvent
from netmon.filters.compile import compile_filters
from netmon.kernel import libbpf
from netmon.kernel.bpf import BpfObject, update_map
from netmon.kernel.probes import Probes
from netmon.layout import IPV4_EVENT, Ipv4Event, TableSize
from netmon.report import OPTIONS
from tests.support.sockets import Pair, connect_pair, cookie_of, disconnect, listen
from tests.support.waiting import wait_until

pytestmark = pytest.mark.core

TABLE, OVERFLOW = "connection_table", "connection_overflow"


def value_of(bpf: BpfObject, name: str, key: int) -> Ipv4Event | None:
    """Return the event in a map's value; None when there is no such value. An array has 32-bit keys."""
    library = libbpf.library()
    value = ctypes.create_string_buffer(library.bpf_map__value_size(bpf._map(name)))
    keys = ctypes.c_uint64(key)  # a little-endian 32-bit key is its first half
    if library.bpf_map_lookup_elem(bpf.map_fd(name), ctypes.byref(keys), value):
        return None
    return Ipv4Event._make(IPV4_EVENT.unpack_from(value))


def kept_at(bpf: BpfObject, cookie: int) -> int:
    """Return the cookie in the only entry that may hold the connection with this cookie; 0: the entry is free."""
    batch, place = divmod(cookie, TableSize.COOKIE_BATCH)
    entry = value_of(bpf, TABLE, (place + batch * TableSize.BATCH_DISTANCE) % TableSize.CONNECTION_TABLE_SIZE)
    assert entry is not None
    return entry.cookie


def nothing_kept(bpf: BpfObject, cookies: Iterable[int]) -> bool:
    """Return whether no connection of these sockets is kept."""
    return not any(kept_at(bpf, cookie) == cookie or value_of(bpf, OVERFLOW, cookie) for cookie in cookies)


def fill_table(bpf: BpfObject) -> None:
    """Take all entries of the table, for a connection with a cookie that no socket has."""
    size = libbpf.library().bpf_map__value_size(bpf._map(TABLE))
    value = IPV4_EVENT.pack(0, 0, 0, 0, 0, 0, 0, 1 << 60, b"", b"").ljust(size, b"\0")
    indexes = b"".join(index.to_bytes(4, "little") for index in range(TableSize.CONNECTION_TABLE_SIZE))
    update_map(bpf.map_fd(TABLE), indexes, 4, value)


@pytest.fixture
def full_table(monkeypatch: pytest.MonkeyPatch) -> list[BpfObject]:
    """Have each object loaded with a full table, and room for one connection in the overflow. Returns the objects."""
    loaded: list[BpfObject] = []
    load = BpfObject.load

    def load_full(bpf: BpfObject) -> None:
        bpf.set_max_entries(OVERFLOW, 1)
        load(bpf)
        fill_table(bpf)
        loaded.append(bpf)

    monkeypatch.setattr(BpfObject, "load", load_full)
    return loaded


def test_a_connection_has_an_entry_while_it_is_open() -> None:
    with closing(Probes(compile_filters(None), 1 << 20)) as probes, listen() as listener:
        probes.attach()
        pair = connect_pair(listener, listener.getsockname())
        cookies = pair.client_cookie, pair.server_cookie
        assert [kept_at(probes._object, cookie) for cookie in cookies] == [*cookies]
        disconnect(pair.client)
        pair.client.connect(listener.getsockname())
        assert [kept_at(probes._object, cookie) for cookie in cookies] == [*cookies]
        pair.close()
        assert not {kept_at(probes._object, cookie) for cookie in cookies} & {*cookies}


def mptcp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)


PLAIN = {"ingress": {"enabled": True}, "egress": {"enabled": True}}
FOLLOWED = {**PLAIN, "report": {"outcome": True, "statistics": True}}
EXISTING = {**PLAIN, "report": {"existing": True}}
EGRESS = {"egress": {"enabled": True}}


def events_of(monitor: Monitor, cookie: int) -> list[str]:
    """Return the types of a socket's events, once the monitor has stopped."""
    monitor.stop()
    events = [event for event in monitor.events() if isinstance(event, NetworkEvent)]
    return [event.network_event.type for event in events if event.network_event.cookie == cookie]


@pytest.mark.parametrize("config", [PLAIN, FOLLOWED, EXISTING], ids=["plain", "followed", "existing"])
def test_nothing_is_kept_of_closed_connections(config: dict[str, object]) -> None:
    """Where states are followed, the entry is freed when the kernel destroys the socket."""
    filters = compile_filters(Config.from_dict(config))
    with closing(Probes(filters, 1 << 20)) as probes, listen() as listener:
        probes.attach()
        for _ in range(20):
            pair = connect_pair(listener, listener.getsockname())
            pair.close()
            wait_until(partial(nothing_kept, probes._object, pair[2:]), "the end of both sockets")


@pytest.fixture
def unanswered() -> Iterator[None]:
    """Have the loopback device swallow what is sent to 192.0.2.0/24."""
    subprocess.run(["ip", "route", "add", "192.0.2.0/24", "dev", "lo"], check=True)
    yield
    subprocess.run(["ip", "route", "del", "192.0.2.0/24", "dev", "lo"], check=True)


@pytest.mark.usefixtures("unanswered")
@pytest.mark.parametrize("config", [PLAIN, FOLLOWED, EXISTING], ids=["plain", "followed", "existing"])
def test_nothing_is_kept_of_mptcp_sockets(config: dict[str, object]) -> None:
    """Of connections, of a refused attempt, and of one that is given up."""
    filters = compile_filters(Config.from_dict(config))
    with closing(Probes(filters, 1 << 20)) as probes, mptcp_socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        probes.attach()
        with mptcp_socket() as client:
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            cookies = [cookie_of(client), cookie_of(server)]
            server.close()
        with mptcp_socket() as client:
            assert client.connect_ex(("127.0.0.1", 1)) == errno.ECONNREFUSED
            cookies.append(cookie_of(client))
        with mptcp_socket() as client:
            client.setblocking(False)
            assert client.connect_ex(("192.0.2.1", 80)) == errno.EINPROGRESS
            cookies.append(cookie_of(client))
        wait_until(partial(nothing_kept, probes._object, cookies), "the end of all sockets")


def test_a_connection_whose_entry_is_taken_is_kept_in_the_overflow(full_table: list[BpfObject]) -> None:
    with Monitor(Config.from_dict(EGRESS), any_kernel=True) as monitor, listen() as listener:
        for _ in range(3):
            pair = connect_pair(listener, listener.getsockname())
            assert value_of(full_table[0], OVERFLOW, pair.client_cookie) is not None
            pair.close()
            assert value_of(full_table[0], OVERFLOW, pair.client_cookie) is None
        assert events_of(monitor, pair.client_cookie) == ["TcpConnectionEstablish", "TcpConnectionClose"]
        assert monitor.losses == Losses()


@pytest.fixture
def occupied(full_table: list[BpfObject]) -> Iterator[tuple[Monitor, Pair]]:
    """A monitor with no room left, and a connection that opened and closed meanwhile."""
    with Monitor(Config.from_dict(EGRESS), any_kernel=True) as monitor, listen() as listener:
        first = connect_pair(listener, listener.getsockname())
        second = connect_pair(listener, listener.getsockname())
        second.close()
        yield monitor, second
        first.close()


def test_an_opening_without_room_to_keep_it_is_reported_and_its_close_counted(
    occupied: tuple[Monitor, Pair],
) -> None:
    monitor, pair = occupied
    assert events_of(monitor, pair.client_cookie) == ["TcpConnectionEstablish"]
    assert monitor.losses == Losses(no_storage=1)


def test_a_process_cannot_refuse_the_memory_for_its_connections() -> None:
    """The kernel charges socket storage to the socket, whose owner may have used up the limit (optmem_max)."""
    limit = Path("/proc/sys/net/core/optmem_max")
    before = limit.read_text()
    config = Config.from_dict({**PLAIN, "report": dict.fromkeys(OPTIONS, True)})
    with Monitor(config, any_kernel=True) as monitor, listen() as listener:
        limit.write_text("1")
        try:
            pair = connect_pair(listener, listener.getsockname())
            pair.close()
        finally:
            limit.write_text(before)
        assert len(events_of(monitor, pair.client_cookie)) == 2
        assert monitor.losses.total == 0


@pytest.mark.usefixtures("full_table")
def test_a_socket_that_connects_again_has_one_connection_at_a_time() -> None:
    with Monitor(Config.from_dict(EGRESS), any_kernel=True) as monitor, listen() as listener, socket.socket() as client:
        for _ in range(3):
            client.connect(listener.getsockname())
            listener.accept()[0].close()
            disconnect(client)
        cookie = cookie_of(client)
        client.close()
        kinds = events_of(monitor, cookie)
        assert kinds == ["TcpConnectionEstablish", "TcpConnectionClose"] * 3
