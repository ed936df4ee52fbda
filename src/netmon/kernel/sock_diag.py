"""Asks the kernel for the TCP sockets of this network namespace (sock_diag(7)): for those of no process, too."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Set
from typing import NamedTuple

from netmon.layout import TcpState

IPPROTO_MPTCP = 262
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
# struct inet_diag_req_v2: family, protocol, extensions, states; and an attribute: length, type, a protocol of any size.
REQUEST = struct.Struct("=BBBxI48xHHI")
INET_DIAG_REQ_PROTOCOL, ATTRIBUTE_SIZE = 3, 8
MESSAGE = struct.Struct("=xB2x40xQ16xI")  # struct inet_diag_msg: the state, the cookie, the inode
ERROR = struct.Struct("=i")
ALIGNMENT = 4
BUFFER = 1 << 17

TIME_WAIT = 6  # in net/tcp_states.h; no full socket has this state
# Connections that are open, or were: not those that listen, are unused, or have not been established by the peer yet.
STATES = (
    1 << TIME_WAIT
    | 1 << TcpState.ESTABLISHED
    | 1 << TcpState.SYN_SENT
    | 1 << TcpState.FIN_WAIT1
    | 1 << TcpState.FIN_WAIT2
    | 1 << TcpState.CLOSE_WAIT
    | 1 << TcpState.LAST_ACK
    | 1 << TcpState.CLOSING
)
BEFORE_ACCEPT = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)


class Ownerless(NamedTuple):
    """How many sockets of a network namespace belong to no process, by the reason.

    Attributes:
        time_wait: The connection has ended; its ports are not used again for a while.
        closing: The process has closed it; the kernel still sends, or waits for the peer.
        unaccepted: It is established, and waits for accept().
        others: No process has it among its open files: it is the kernel's own, in a message between processes, or
            io_uring has it alone.
    """

    time_wait: int = 0
    closing: int = 0
    unaccepted: int = 0
    others: int = 0

    def describe(self) -> str:
        """Return the counts in words; "" if there are none."""
        names = {"time_wait": "time-wait", "unaccepted": "not accepted yet", "others": "in no open file"}
        parts = [f"{count} {names.get(name, name)}" for name, count in self._asdict().items() if count]
        return f"{sum(self)} more belong to no process: {', '.join(parts)}" if parts else ""


class Seen(NamedTuple):
    """The sockets of a network namespace at one moment.

    Attributes:
        ownerless: The counts of those without an inode; `others` is 0.
        cookies: The cookies of all others, without the subflows of MPTCP.
    """

    ownerless: Ownerless
    cookies: Set[int]


def read_sockets() -> Seen:
    """Return the TCP sockets of this network namespace. Raises OSError where the kernel cannot tell them."""
    counts = dict.fromkeys(Ownerless._fields, 0)
    inodes: dict[int, int] = {}  # by the cookie
    for state, cookie, inode in _sockets(socket.IPPROTO_TCP):
        if inode:
            inodes[cookie] = inode
        elif state == TIME_WAIT:
            counts["time_wait"] += 1
        else:
            counts["unaccepted" if state in BEFORE_ACCEPT else "closing"] += 1
    of_mptcp = _mptcp_inodes()
    return Seen(Ownerless(**counts), {cookie for cookie, inode in inodes.items() if inode not in of_mptcp})


def _mptcp_inodes() -> set[int]:
    """Return the inodes of the MPTCP sockets; their subflows, which are TCP sockets, have the same."""
    try:
        return {inode for _, _, inode in _sockets(IPPROTO_MPTCP)}
    except OSError:  # the kernel does not have it, or not the module that tells of it: subflows are counted
        return set()


def _sockets(protocol: int) -> Iterator[tuple[int, int, int]]:
    """Yield state, cookie and inode of each socket of a protocol."""
    for family in (socket.AF_INET, socket.AF_INET6):
        yield from _dump(family, protocol)


def _dump(family: int, protocol: int) -> Iterator[tuple[int, int, int]]:
    """Yield state, cookie and inode of each socket of a family and protocol."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        attribute = ATTRIBUTE_SIZE, INET_DIAG_REQ_PROTOCOL, protocol
        request = REQUEST.pack(family, socket.IPPROTO_TCP, 0, STATES, *attribute)
        flags = NLM_F_REQUEST | NLM_F_DUMP
        netlink.sendto(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, flags, 1, 0) + request, (0, 0))
        buffer = bytearray(BUFFER)
        while True:
            size = netlink.recv_into(buffer)
            for kind, at in _messages(buffer, size):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    raise _error(ERROR.unpack_from(buffer, at)[0])
                yield MESSAGE.unpack_from(buffer, at)


def _messages(buffer: bytearray, size: int) -> Iterator[tuple[int, int]]:
    """Yield each message's type, and where its content begins."""
    at = 0
    while at + HEADER.size <= size:
        length, kind, _, _, _ = HEADER.unpack_from(buffer, at)
        yield kind, at + HEADER.size
        at += max(length, HEADER.size) + ALIGNMENT - 1 & -ALIGNMENT


def _error(number: int) -> OSError:
    return OSError(-number, os.strerror(-number))


def count_ownerless(before: Seen, found: Mapping[int, object], after: Seen) -> Ownerless:
    """Return how many sockets belong to no process.

    Args:
        before: The sockets before the processes were searched for connections.
        found: The cookies of the connections that they have.
        after: The sockets after that: one that is in `before` as well was there all the time.
    """
    missing = sum(cookie not in found for cookie in before.cookies & after.cookies)
    return after.ownerless._replace(others=missing)
