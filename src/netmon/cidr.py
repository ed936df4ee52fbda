"""Addresses and CIDRs as configurations write them. Families are socket.AF_INET and AF_INET6."""

from __future__ import annotations

import reprlib
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from netmon.layout import Family

_repr = reprlib.Repr()

SOCKET_FAMILIES = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}

MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96


def split_cidr(text: str, family: socket.AddressFamily) -> tuple[bytes, int]:
    """Return a CIDR's packed address and prefix length (the whole address's when it has none).

    Raises ValueError or OSError when it is not one.
    """
    address, slash, length = text.partition("/")
    packed = socket.inet_pton(family, address)
    bits = 8 * len(packed)
    if not slash:
        return packed, bits
    number = int(length)
    # int() takes "+8", " 8", "08" and "1_6", too.
    if not 0 <= number <= bits or str(number) != length:
        raise ValueError("bad prefix length")
    return packed, number


def check_ipv4(value: Any) -> str:
    """Return an IPv4 address or CIDR as text. Raises ValueError that says what is wrong with it."""
    return _check(value, socket.AF_INET)


def check_ipv6(value: Any) -> str:
    """Return an IPv6 address or CIDR, not a mapped one, as text. Raises ValueError likewise."""
    return _check(value, socket.AF_INET6)


def _check(value: Any, family: socket.AddressFamily) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, IPv4Address | IPv4Network | IPv6Address | IPv6Network):
        text = str(value)
    else:
        raise ValueError(_not_a_cidr(family))
    try:
        packed, length = split_cidr(text, family)
    except (ValueError, OSError):
        raise ValueError(_explain(text, family)) from None
    if length >= 96 and packed.startswith(MAPPED_PREFIX):
        network = ip_network((packed[12:], length - 96), strict=False)
        raise ValueError(f"is IPv4-mapped, which the IPv4 filter judges; put {network} in ipv4_filter")
    host_bits = 8 * len(packed) - length
    if host_bits and int.from_bytes(packed, "big") & ((1 << host_bits) - 1):
        network = ip_network((packed, length), strict=False)
        raise ValueError(f"has host bits set; did you mean {network}?")
    return text


def _not_a_cidr(family: socket.AddressFamily) -> str:
    if family == socket.AF_INET:
        return "is not an IPv4 address or CIDR; write it like 10.0.0.0/8 or 10.1.2.3"
    return "is not an IPv6 address or CIDR; write it like 2001:db8::/32 or ::1"


def _explain(text: str, family: socket.AddressFamily) -> str:
    """Return what is wrong with a text that split_cidr() refuses."""
    if "%" in text:
        return "has a scope, which a filter cannot match; leave out '%' and what follows"
    before_slash, _, length = text.partition("/")
    try:
        address = ip_address(before_slash)
    except ValueError:
        return _not_a_cidr(family)
    version, most = (4, 32) if family == socket.AF_INET else (6, 128)
    if address.version != version:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if mapped:
            return f"is IPv4-mapped, in an IPv4 list; write it as IPv4, like {mapped}"
        return f"is IPv{address.version}, in an IPv{version} list; move it to ipv{address.version}_filter"
    bad_length = f"has a bad prefix length {_repr.repr(length)}; it must be a number from 0 to {most}"
    if length.isdigit():
        return bad_length
    try:
        # 10.0.0.0/255.0.0.0, which the standard library reads.
        network = ip_network(text, strict=False)
    except ValueError:
        return bad_length
    return f"has a netmask for a prefix length; did you mean {network}?"
