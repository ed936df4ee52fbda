"""The filter sets, in the maps of netmon's own object: loaded without its programs, which this kernel may refuse."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from netmon import layout
from netmon.config import Config
from netmon.errors import BpfError
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import KEY_MAPS, PORTS, RULE_MAPS, RULE_PORTS, CompiledFilters
from netmon.kernel import filter_maps, libbpf
from netmon.kernel.bpf import BpfObject
from netmon.kernel.filter_maps import GENERATION, SETS, FilterMaps
from netmon.kernel.programs import programs_in_object, read_object

MAPS = (*KEY_MAPS, PORTS, *RULE_MAPS, RULE_PORTS)
RULE = 'binary_name == "curl" AND binary_prefix == "/usr/" AND port_dst == 22 AND ip_dst in ["10.0.0.0/8", "2000::/3"]'
ENABLED = {"ingress": {"enabled": True}, "egress": {"enabled": True}}
ALL = compile_filters(
    Config.from_dict(
        {
            "ingress": {"enabled": True, "port_filter": {"dst_port": [22]}},
            "egress": {
                "enabled": True,
                "ipv4_filter": {"dst_ip": ["10.0.0.0/8"]},
                "ipv6_filter": {"dst_ip": ["2000::/3"]},
            },
            "process_filter": {
                "uid": [0, 1000],
                "binary": {"name": ["curl"], "prefix": ["/usr/"], "path": ["/bin/sh"]},
                "cgroup": ["/system.slice"],
                "container_id": ["0123456789ab"],
            },
            "rules": [{"rule": "all", "when": RULE}],
        }
    )
)
IDS = compile_filters(Config.from_dict({**ENABLED, "process_filter": {"uid": [7]}}))
NONE = compile_filters(Config.from_dict(ENABLED))


class Loaded:
    """The filter maps of an object that is loaded with these filters."""

    def __init__(self, filters: CompiledFilters, resources: ExitStack) -> None:
        self.bpf = resources.enter_context(BpfObject(read_object(minimal=False), "netmon"))
        for program in programs_in_object(minimal=False):
            self.bpf.set_autoload(program.name, False)
        self.maps = FilterMaps(self.bpf, rules=True)
        self.bpf.set_initial_value(".data.settings", self.maps.initial_settings(filters))
        self.bpf.load()
        self.settings, control = self.bpf.data(".data.settings"), self.bpf.data(".data.control")
        self.control = control.cast("Q")
        for memory in (self.settings, control, self.control):
            resources.callback(memory.release)
        self.maps.fill(filters)

    def swap(self, filters: CompiledFilters) -> None:
        self.maps.swap(filters, self.settings, self.control)

    def filled(self, index: int) -> set[str]:
        """Return the names of the maps that a set has."""
        return {name for name in MAPS if self._has_map(name, index)}

    def settings_of(self, index: int) -> bytes:
        size = layout.SETTINGS.size
        return bytes(self.settings[index * size : (index + 1) * size])

    def _has_map(self, name: str, index: int) -> bool:
        lookup = libbpf.library().bpf_map_lookup_elem
        number = ctypes.c_uint32()
        return not lookup(self.bpf.map_fd(name), ctypes.byref(ctypes.c_uint32(index)), ctypes.byref(number))


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as resources:
        yield resources


def names_of(filters: CompiledFilters) -> set[str]:
    """Return the names of the maps that these filters need."""
    return {name for name in MAPS if getattr(filters, name)}


def test_the_first_set_is_in_force_from_the_start(resources: ExitStack) -> None:
    loaded = Loaded(ALL, resources)
    assert names_of(ALL) == {*MAPS}
    assert [loaded.filled(index) for index in range(SETS)] == [names_of(ALL), set()]
    assert loaded.settings_of(0) == ALL.settings
    assert loaded.settings_of(1) == bytes(layout.SETTINGS.size)
    assert loaded.control[GENERATION] == 0


def test_each_swap_fills_the_idle_set_and_empties_the_other(resources: ExitStack) -> None:
    loaded = Loaded(ALL, resources)
    for generation, filters in enumerate((IDS, NONE, ALL, ALL, IDS), 1):
        loaded.swap(filters)
        in_force = generation % SETS
        assert loaded.control[GENERATION] == generation
        assert loaded.filled(in_force) == names_of(filters)
        assert loaded.filled(1 - in_force) == set()
        assert loaded.settings_of(in_force) == filters.settings


def test_a_swap_that_fails_changes_nothing(resources: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Loaded(IDS, resources)

    def fill_half(fd: int, keys: bytes, key_size: int, value: bytes) -> None:
        if key_size != layout.IPV4_CIDR_KEY.size:
            raise BpfError(12, "fill map")

    with monkeypatch.context() as patch:
        patch.setattr(filter_maps, "update_map", fill_half)
        with pytest.raises(BpfError, match="ENOMEM"):
            loaded.swap(ALL)
    assert loaded.control[GENERATION] == 0
    assert loaded.filled(0) == names_of(IDS)
    assert loaded.settings_of(0) == IDS.settings
    assert loaded.filled(1) == {"ipv4_cidrs"}
    loaded.swap(NONE)
    assert loaded.control[GENERATION] == 1
    assert loaded.filled(0) == loaded.filled(1) == set()
