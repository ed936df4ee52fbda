"""Evaluates compiled filters as the kernel half does, and compares the verdicts with the model of the filters."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from netmon.config import Config
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import CompiledFilters
from netmon.layout import SETTINGS, Direction, Endpoint, Family, FilterMode, IdKind, Predicate, Settings
from tests.support import filter_model
from tests.support.filter_model import SOCKET, Program, Socket

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS


ON = {"enabled": True}


CURL = Program(uid=1000, euid=1000, auid=1000, path=b"/usr/bin/curl")


KEY_SIZES = {
    "ipv4_cidrs": 12,
    "ipv6_cidrs": 24,
    "ids": 8,
    "binary_names": 256,
    "binary_paths": 512,
    "binary_prefixes": 260,
    "cgroups": 260,
    "container_ids": 260,
}


PORT_SET = 65536 // 8


class Evaluator:
    """Evaluates settings and map keys as bpf/filter.h does, with the maps' lookups in Python."""

    def __init__(self, filters: CompiledFilters) -> None:
        self.filters = filters
        self.settings = Settings._make(SETTINGS.unpack(filters.settings))._asdict()

    def passes(self, direction: Direction, saddr: str, daddr: str, program: Program, socket: Socket) -> bool:
        filters = f"connection_filters_{direction:d}"
        return (
            not self.settings[f"{filters}_any"]
            or (
                self._passes_ports(f"{filters}_ports", direction, socket)
                and self._passes_netns(socket.netns)
                and self._passes_addresses(filters, direction, saddr, daddr)
            )
        ) and self._passes_process(program)

    def _passes_ports(self, filter_: str, direction: Direction, socket: Socket) -> bool:
        mode = self.settings[f"{filter_}_mode"]
        if mode == FilterMode.OFF:
            return True
        match = any(
            self.settings[f"{filter_}_{endpoint.name.lower()}"]
            and self._is_port_listed(direction * 2 + endpoint, port) != self.settings[f"{filter_}_negated"]
            for endpoint, port in ((Endpoint.SRC, socket.sport), (Endpoint.DST, socket.dport))
        )
        return bool(match == (mode == FilterMode.ALLOW))

    def _is_port_listed(self, number: int, port: int) -> bool:
        assert len(self.filters.ports) == 4 * PORT_SET
        return bool(self.filters.ports[number * PORT_SET + port // 8] >> port % 8 & 1)

    def _passes_netns(self, netns: int) -> bool:
        mode = self.settings["netns_mode"]
        match = struct.pack("=II", IdKind.NETNS, netns) in keys_of(self.filters, "ids")
        return bool(mode == FilterMode.OFF or match == (mode == FilterMode.ALLOW))

    def _passes_addresses(self, filters: str, direction: Direction, saddr: str, daddr: str) -> bool:
        family = Family.IPV6 if ":" in saddr else Family.IPV4
        filter_ = f"{filters}_addresses_{family:d}"
        mode = self.settings[f"{filter_}_mode"]
        if mode == FilterMode.OFF:
            return True
        match = any(
            self.settings[f"{filter_}_{endpoint.name.lower()}"]
            and self._is_listed(family, direction * 2 + endpoint, address) != self.settings[f"{filter_}_negated"]
            for endpoint, address in ((Endpoint.SRC, saddr), (Endpoint.DST, daddr))
        )
        return bool(match == (mode == FilterMode.ALLOW))

    def _is_listed(self, family: Family, number: int, address: str) -> bool:
        if family == Family.IPV4:
            keys, packed = keys_of(self.filters, "ipv4_cidrs"), socket.inet_pton(socket.AF_INET, address)
        else:
            keys, packed = keys_of(self.filters, "ipv6_cidrs"), socket.inet_pton(socket.AF_INET6, address)
        return is_in_trie(keys, struct.pack(">I", number) + packed)

    def _passes_process(self, program: Program) -> bool:
        mode = self.settings["process_filter_mode"]
        if mode == FilterMode.OFF:
            return True
        all_, any_ = self.settings["process_filter_all"], self.settings["process_filter_any"]
        matched = sum(predicate for predicate in Predicate if self._is_true(predicate, program))
        match = bool(matched & all_ == all_ and (not any_ or matched & any_))
        return bool(match == (mode == FilterMode.ALLOW))

    def _is_true(self, predicate: Predicate, program: Program) -> bool:
        name, path = program.name.ljust(256, b"\0"), program.path.ljust(512, b"\0")
        cgroup = f"{program.cgroup.rstrip('/')}/".encode().ljust(256, b"\0")[:256]
        container = (program.container_id or "").encode().ljust(256, b"\0")
        if predicate in (Predicate.UID, Predicate.EUID, Predicate.AUID, Predicate.GID):
            key = struct.pack("=II", IdKind[predicate.name], getattr(program, predicate.name.lower()))
            return key in keys_of(self.filters, "ids")
        if predicate == Predicate.NAME:
            return name in keys_of(self.filters, "binary_names")
        if predicate == Predicate.COMM:
            return (b"/" + program.comm).ljust(256, b"\0") in keys_of(self.filters, "binary_names")
        if predicate == Predicate.PATH:
            return len(program.path) < 512 and path in keys_of(self.filters, "binary_paths")
        if predicate == Predicate.PREFIX:
            return is_in_trie(keys_of(self.filters, "binary_prefixes"), path[:256])
        if predicate == Predicate.CGROUP:
            return is_in_trie(keys_of(self.filters, "cgroups"), cgroup)
        return is_in_trie(keys_of(self.filters, "container_ids"), container)


def keys_of(filters: CompiledFilters, name: str) -> list[bytes]:
    keys: bytes = getattr(filters, name)
    size = KEY_SIZES[name]
    assert len(keys) % size == 0
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def is_in_trie(keys: Iterable[bytes], data: bytes) -> bool:
    """Look up data among the keys of an LPM trie: each is a length in bits and a padded prefix."""
    return any(is_prefix(struct.unpack("=I", key[:4])[0], key[4:], data) for key in keys)


def is_prefix(bits: int, prefix: bytes, data: bytes) -> bool:
    assert len(prefix) == len(data)
    beyond = 8 * len(data) - bits
    return int.from_bytes(prefix, "big") >> beyond == int.from_bytes(data, "big") >> beyond


def verdict(
    config: Config,
    direction: Direction,
    saddr: str,
    daddr: str,
    program: Program = CURL,
    socket: Socket = SOCKET,
) -> bool:
    """Return whether a connection is reported, after checking that the model and the compiled filters agree."""
    expected = filter_model.passes(config, direction, saddr, daddr, program, socket)
    assert Evaluator(compile_filters(config)).passes(direction, saddr, daddr, program, socket) == expected
    return expected
