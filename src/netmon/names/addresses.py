"""Which addresses may have a name."""

from __future__ import annotations

MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in an IPv6 one
IPV4_LENGTH, IPV6_LENGTH = 4, 16

THIS_NETWORK, LOOPBACK, MULTICAST = 0, 127, 224  # first bytes of IPv4 addresses; 0 stays on this host, too
LINK_LOCAL = b"\xa9\xfe"  # 169.254.0.0/16
IPV6_LINK_LOCAL = b"\xfe\x80"  # fe80::/10
IPV6_MULTICAST = 0xFF


def nameable(packed: bytes) -> bytes | None:
    """Return an address of an answer as events have it; None if it is to have no name.

    Whose the loopback and link-local addresses are depends on who asks: a name for them would say nothing, or hide that
    a connection stays on this host.

    Args:
        packed: 4 or 16 bytes.
    """
    if len(packed) == IPV6_LENGTH and packed.startswith(MAPPED):
        packed = packed[len(MAPPED) :]
    return None if (_is_local_ipv6 if len(packed) == IPV6_LENGTH else _is_local_ipv4)(packed) else packed


def _is_local_ipv4(packed: bytes) -> bool:
    first = packed[0]
    return first in (THIS_NETWORK, LOOPBACK) or first >= MULTICAST or packed.startswith(LINK_LOCAL)


def _is_local_ipv6(packed: bytes) -> bool:
    link_local = packed[0] == IPV6_LINK_LOCAL[0] and packed[1] & 0xC0 == IPV6_LINK_LOCAL[1]
    unspecified_or_loopback = not any(packed[:-1]) and packed[-1] <= 1
    return link_local or unspecified_or_loopback or packed[0] == IPV6_MULTICAST
