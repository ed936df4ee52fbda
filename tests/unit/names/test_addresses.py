"""Addresses that may have a name."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.names.addresses import nameable


@pytest.mark.parametrize("text", ["192.0.2.1", "10.0.0.1", "169.253.0.1", "2001:db8::1", "fd00::1", "64:ff9b::a00:1"])
def test_other_hosts_have_names(text: str) -> None:
    packed = ip_address(text).packed
    assert nameable(packed) == packed


def test_a_mapped_address_is_the_one_that_events_have() -> None:
    assert nameable(ip_address("::ffff:192.0.2.1").packed) == b"\xc0\x00\x02\x01"


@given(st.ip_addresses())
def test_what_is_of_this_host_or_its_link_has_none(address: object) -> None:
    reference = ip_address(str(address))
    mapped = getattr(reference, "ipv4_mapped", None) or reference
    local = mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast
    if local:
        assert nameable(reference.packed) is None


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3", "169.254.1.1", "224.0.0.251", "255.255.255.255", "::", "::1"],
)
def test_local_addresses_have_none(text: str) -> None:
    assert nameable(ip_address(text).packed) is None
    if ":" not in text:
        assert nameable(ip_address(f"::ffff:{text}").packed) is None


@pytest.mark.parametrize("text", ["fe80::1", "febf::1", "ff02::fb"])
def test_local_addresses_of_ipv6_have_none(text: str) -> None:
    assert nameable(ip_address(text).packed) is None
