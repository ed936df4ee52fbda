"""What the kernel half makes of rules: by its own code, in this host's kernel, and by a model of its lookups."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from netmon.filters.compiled import CompiledFilters
from netmon.filters.handover import KEY_SIZES
from netmon.kernel.bpf import BpfObject
from netmon.kernel.filter_maps import FilterMaps
from netmon.layout import LOAD_CONFIG, SETTINGS, Direction, Family, Limit, LoadConfig, RuleList, Settings
from tests.support.socket_filter import compile_bpf, run

SOURCE = Path(__file__).with_name("rule_match.bpf.c")
OUTPUT = Path(__file__).parents[2] / "build/tests/rule_match.bpf.o"
CASE = struct.Struct("=II16s16sHHI5IIII1024s")
IS_WANTED = CASE.size - 1024 - 4
IDS = ("uid", "euid", "gid", "egid", "auid")
ID_LISTS = (RuleList.UID, RuleList.EUID, RuleList.GID, RuleList.EGID, RuleList.AUID)
IPV4 = 4


class Opening(NamedTuple):
    """A connection that opens, and the process that opens it. path: as the kernel has it; empty: unknown."""

    direction: Direction
    saddr: str
    daddr: str
    sport: int
    dport: int
    netns: int
    ids: tuple[int, int, int, int, int]
    path: bytes
    is_complete: bool = True

    @property
    def family(self) -> Family:
        return Family.IPV6 if ":" in self.saddr else Family.IPV4

    def packed(self, address: str) -> bytes:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


class KernelRules:
    """netmon's own code, with real maps, in this host's kernel."""

    def __init__(self, bpf: BpfObject) -> None:
        self.maps = FilterMaps(bpf, rules=True)
        bpf.set_initial_value(
            ".rodata.load_config", LOAD_CONFIG.pack(*LoadConfig(**{**NO_CONFIG, "filters": 1, "rules": 1}))
        )
        bpf.load()
        self._settings = bpf.data(".data.settings")
        self._control = bpf.data(".data.control").cast("Q")
        self._case = bpf.data("cases")
        self._fd = bpf.program_fd("compare_rules")

    def reload(self, filters: CompiledFilters) -> None:
        """Put rules in force."""
        self.maps.swap(filters, self._settings, self._control)

    def wants(self, opening: Opening) -> bool:
        """Return whether a rule may want a connection."""
        self.measure(opening, 1)
        wanted: int = self._case[IS_WANTED]
        assert wanted in (0, 1)
        return bool(wanted)

    def measure(self, opening: Opening, times: int) -> int:
        """Compare a connection a number of times; return the nanoseconds that one takes."""
        addresses = (opening.packed(address).ljust(16, b"\0") for address in (opening.saddr, opening.daddr))
        self._case[: CASE.size] = CASE.pack(
            opening.direction,
            opening.family,
            *addresses,
            opening.sport,
            opening.dport,
            opening.netns,
            *opening.ids,
            len(opening.path),
            opening.is_complete,
            2,
            opening.path,
        )
        return run(self._fd, times)


NO_CONFIG = dict.fromkeys(LoadConfig._fields, 0)


@contextmanager
def kernel_rules() -> Iterator[KernelRules]:
    """Yield the code, loaded."""
    with BpfObject(compile_bpf(SOURCE, OUTPUT), "netmon") as bpf:
        yield KernelRules(bpf)


class ModelledRules:
    """The same by a model, which looks keys up by comparing each."""

    def __init__(self, filters: CompiledFilters) -> None:
        self._filters = filters
        self._settings = Settings._make(SETTINGS.unpack(filters.settings))._asdict()
        self._keys = cache(self._read_keys)

    def wants(self, opening: Opening) -> bool:
        if not self._settings["limited"]:
            return True
        number = opening.family == Family.IPV6
        met: int = self._settings[f"wanted_possible_{opening.direction:d}_{opening.family:d}"]
        if ports := self._filters.rule_ports:
            for end, port in enumerate((opening.sport, opening.dport)):
                class_ = ports[2 * 256 * 8 + end * 65536 + port]
                met &= int.from_bytes(ports[(end * 256 + class_) * 8 :][:8], "little")
        for end, address in enumerate((opening.saddr, opening.daddr)):
            list_ = (RuleList.IPV6_SRC if number else RuleList.IPV4_SRC) + end
            met &= self._lookup("rule_ipv6" if number else "rule_numbers", list_, opening.packed(address))
        met &= self._lookup("rule_numbers", RuleList.NETNS, struct.pack(">I", opening.netns))
        for list_, value in zip(ID_LISTS, opening.ids, strict=True):
            met &= self._lookup("rule_numbers", list_, struct.pack(">I", value))
        if opening.path and opening.is_complete:
            name = opening.path.rpartition(b"/")[2]
            met &= self._lookup_text(RuleList.NAME, name) if len(name) < Limit.NAME_SIZE else met
            met &= self._lookup_text(RuleList.PATH, opening.path) if len(opening.path) < Limit.BINARY_PATH_SIZE else met
            met &= self._longest("rule_prefixes", opening.path.ljust(256, b"\0")[:256], RuleList.PREFIX)
        return bool(met)

    def _read_keys(self, name: str) -> list[tuple[bytes, int]]:
        keys, met, size = getattr(self._filters, name), getattr(self._filters, f"{name}_met"), KEY_SIZES[name]
        sets = [value for (value,) in struct.iter_unpack("=Q", met[:])]
        return [(keys[i * size : (i + 1) * size], one) for i, one in enumerate(sets)]

    def _lookup(self, name: str, list_: int, value: bytes) -> int:
        return self._longest(name, struct.pack(">I", list_) + value, list_)

    def _longest(self, name: str, data: bytes, list_: int) -> int:
        found: int = self._settings[f"wanted_otherwise_{list_:d}"]
        best = -1
        for key, met in self._keys(name):
            bits = int.from_bytes(key[:4], sys.byteorder)
            beyond = 8 * len(data) - bits
            if bits > best and int.from_bytes(key[4:], "big") >> beyond == int.from_bytes(data, "big") >> beyond:
                found, best = met, bits
        return found

    def _lookup_text(self, list_: RuleList, text: bytes) -> int:
        found: int = self._settings[f"wanted_otherwise_{list_:d}"]
        listed: dict[bytes, int] = dict(self._keys("rule_texts"))
        return listed.get(text.ljust(512, b"\0"), found)
