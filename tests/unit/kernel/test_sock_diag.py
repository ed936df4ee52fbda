"""The sockets of a network namespace: asked of this machine's kernel."""

from __future__ import annotations

import errno
import socket

import pytest

from netmon.kernel import sock_diag
from netmon.kernel.sock_diag import Ownerless, Seen, count_ownerless, read_sockets
from tests.support.sockets import connect_pair, cookie_of, listen


@pytest.mark.parametrize(
    ("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"]
)
def test_connections_are_told_by_their_cookies(address: str, family: socket.AddressFamily) -> None:
    with listen(address, family) as listener, socket.socket(family) as unused:
        pair = connect_pair(listener, listener.getsockname()[:2], family)
        cookies = read_sockets().cookies
        assert {*pair[2:]} <= cookies
        assert not {cookie_of(listener), cookie_of(unused)} & cookies
        pair.close()
        assert not {*pair[2:]} & read_sockets().cookies


def test_a_connection_that_nobody_has_accepted_belongs_to_no_process() -> None:
    with listen() as listener, socket.create_connection(listener.getsockname()):
        assert read_sockets().ownerless.unaccepted >= 1


def test_a_connection_that_has_ended_is_in_time_wait() -> None:
    with listen() as listener:
        connect_pair(listener, listener.getsockname()).close()
    assert read_sockets().ownerless.time_wait >= 1


def test_more_sockets_than_one_answer_of_the_kernel_holds_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "BUFFER", 4096)
    with listen() as listener:
        pairs = [connect_pair(listener, listener.getsockname()) for _ in range(100)]
        assert {cookie for pair in pairs for cookie in pair[2:]} <= read_sockets().cookies
        for pair in pairs:
            pair.close()


def test_the_subflows_of_mptcp_are_left_out() -> None:
    with listen() as plain:
        before = read_sockets().cookies
        mptcp = [socket.socket(socket.AF_INET, socket.SOCK_STREAM, sock_diag.IPPROTO_MPTCP) for _ in range(2)]
        mptcp[0].bind(("127.0.0.1", 0))
        mptcp[0].listen()
        mptcp[1].connect(mptcp[0].getsockname())
        mptcp.append(mptcp[0].accept()[0])
        pair = connect_pair(plain, plain.getsockname())
        new = read_sockets().cookies - before
        assert {*pair[2:]} <= new
        # Other programs may open connections meanwhile, but not among these cookies.
        assert not {cookie for cookie in new if min(map(cookie_of, mptcp)) <= cookie < min(pair[2:])} - {*pair[2:]}
        for sock in (*mptcp, *pair[:2]):
            sock.close()


def test_a_refusal_of_the_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "SOCK_DIAG_BY_FAMILY", 21 + 100)  # no message of this type
    with pytest.raises(OSError, match=rf"Errno ({errno.EINVAL}|{errno.EOPNOTSUPP})\b"):
        read_sockets()


def test_only_sockets_that_were_there_all_the_time_are_missed_in_processes() -> None:
    before = Seen(Ownerless(time_wait=9), {1, 2, 3, 4})
    after = Seen(Ownerless(time_wait=2, closing=1), {2, 3, 4, 5})
    assert count_ownerless(before, {2: None}, after) == Ownerless(time_wait=2, closing=1, others=2)


def test_counts_in_words() -> None:
    assert Ownerless().describe() == ""
    assert Ownerless(1, 2, 3, 4).describe() == (
        "10 more belong to no process: 1 time-wait, 2 closing, 3 not accepted yet, 4 in no open file"
    )
