"""Addresses and CIDRs as configurations write them."""

from __future__ import annotations

import re
import sys
from _socket import AF_INET, AF_INET6, inet_pton  # socket itself takes long to import
from typing import Any

from netmon.errors import MAX_SHOWN, shorten
from netmon.layout import Family

SOCKET_FAMILIES = {Family.IPV4: AF_INET, Family.IPV6: AF_INET6}

MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96


def split_cidr(text: str, family: int) -> tuple[bytes, int]:
    """Split an address or a CIDR.

    Args:
        text: Like 10.0.0.0/8, 10.1.2.3 or ::1.
        family: AF_INET or AF_INET6.

    Returns:
        The address in network order, and the prefix length in bits: all bits, if the text has none.

    Raises:
        ValueError, OSError: The text is not an address or a CIDR of this family.
    """
    address, slash, length = text.partition("/")
    packed = inet_pton(family, address)
    bits = 8 * len(packed)
    if not slash:
        return packed, bits
    number = int(length)
    # int() accepts "+8", " 8", "08" and "1_6", too.
    if not 0 <= number <= bits or str(number) != length:
        raise ValueError("bad prefix length")
    return packed, number


class CidrError(ValueError):
    """A value that is not an address or CIDR of a family. str() finds out why: of many such errors, few are shown."""

    def __init__(self, value: Any, family: int) -> None:
        super().__init__(value, family)

    def __str__(self) -> str:
        value, family = self.args
        return _explain(_text_of(value), family)


def check_ipv4(value: Any) -> str:
    """Return an IPv4 address or CIDR as text. Raises CidrError."""
    return _check(value, AF_INET)


def check_ipv6(value: Any) -> str:
    """Return an IPv6 address or CIDR, not a mapped one, as text. Raises CidrError."""
    return _check(value, AF_INET6)


def _check(value: Any, family: int) -> str:
    text = value if isinstance(value, str) else _text_of(value)
    try:
        packed, length = split_cidr(text, family)
    except (ValueError, OSError):
        raise CidrError(value, family) from None
    if _is_mapped(packed, length) or _has_host_bits(packed, length):
        raise CidrError(value, family)
    return text


def _text_of(value: Any) -> str:
    """Return the text of an address or a CIDR; an empty text for any other value."""
    if isinstance(value, str):
        return str(value)
    ipaddress: Any = sys.modules.get("ipaddress")  # whoever has such an object has imported it
    kinds = ("IPv4Address", "IPv4Network", "IPv6Address", "IPv6Network")
    return str(value) if ipaddress and isinstance(value, tuple(getattr(ipaddress, kind) for kind in kinds)) else ""


def _is_mapped(packed: bytes, length: int) -> bool:
    return length >= 96 and packed.startswith(MAPPED_PREFIX)


def _has_host_bits(packed: bytes, length: int) -> bool:
    host_bits = 8 * len(packed) - length
    return bool(host_bits and int.from_bytes(packed, "big") & ((1 << host_bits) - 1))


# Labels of letters, digits and dashes, of which one letter is no hexadecimal digit, or one a dash.
NAME = r"(?=.*[g-zG-Z-])[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*\.?"


def _explain_name(text: str) -> str:
    return f"is a name, and names are not looked up; give its addresses, which `getent ahosts {text}` prints"


def _not_a_cidr(family: int) -> str:
    if family == AF_INET:
        return "is not an IPv4 address or CIDR; write it like 10.0.0.0/8 or 10.1.2.3"
    return "is not an IPv6 address or CIDR; write it like 2001:db8::/32 or ::1"


def _explain(text: str, family: int) -> str:
    """Return what is wrong with text that _check() refuses."""
    from ipaddress import ip_network  # slow to import, and seldom needed

    try:
        packed, length = split_cidr(text, family)
    except (ValueError, OSError):
        return _explain_unreadable(text, family)
    if _is_mapped(packed, length):
        network = ip_network((packed[12:], length - 96), strict=False)
        return f"is IPv4-mapped, so the IPv4 filter applies; put {network} in ipv4_filter"
    return f"has host bits set; did you mean {ip_network((packed, length), strict=False)}?"


def _explain_unreadable(text: str, family: int) -> str:
    """Return what is wrong with text that split_cidr() refuses."""
    from ipaddress import IPv6Address, ip_address, ip_network  # slow to import, and seldom needed

    if "%" in text:
        return "has a scope, which filters do not support; remove '%' and what follows it"
    before_slash, _, length = text.partition("/")
    try:
        address = ip_address(before_slash)
    except ValueError:
        return _explain_name(text) if len(text) <= MAX_SHOWN and re.fullmatch(NAME, text) else _not_a_cidr(family)
    version, most = (4, 32) if family == AF_INET else (6, 128)
    if address.version != version:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if mapped:
            return f"is IPv4-mapped IPv6, in an IPv4 list; write it as IPv4: {mapped}"
        return f"is IPv{address.version}, in an IPv{version} list; move it to ipv{address.version}_filter"
    bad_length = f"has a bad prefix length {shorten(length)}; it must be a number from 0 to {most}"
    if length.isdigit():
        return bad_length
    try:
        # The standard library reads netmasks: 10.0.0.0/255.0.0.0.
        network = ip_network(text, strict=False)
    except ValueError:
        return bad_length
    return f"has a netmask instead of a prefix length; did you mean {network}?"
