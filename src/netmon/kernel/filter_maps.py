"""The filters in the kernel: two sets of maps and settings, one of which judges while the other can be filled."""

from __future__ import annotations

from contextlib import closing

from netmon import layout
from netmon.filters.compiled import CompiledFilters
from netmon.kernel.bpf import BpfObject, Map, put_map, update_map

# Maps of maps (maps.h), named as in CompiledFilters: each set has at most one map in each.
FILTER_MAPS = (
    "ipv4_cidrs",
    "ipv6_cidrs",
    "ids",
    "binary_names",
    "binary_paths",
    "binary_prefixes",
    "cgroups",
    "container_ids",
)
PORTS = "ports"  # a map of maps, too, the one value of which is CompiledFilters' ports
GENERATION = layout.Control._fields.index("generation")
SETS = int(layout.FilterSet.SETS)


class FilterSets:
    """Which of the two is in use goes by the parity of the generation: one store swaps all of it at once."""

    def __init__(self, bpf: BpfObject) -> None:
        """bpf: not loaded yet."""
        self._bpf = bpf
        self._kinds = {name: bpf.inner_map_kind(name) for name in (*FILTER_MAPS, PORTS)}

    def initial_settings(self, filters: CompiledFilters) -> bytes:
        """Return the section .data.settings to load with: so that the first set judges from the start."""
        return filters.settings + bytes(layout.SETTINGS.size * (SETS - 1))

    def fill(self, filters: CompiledFilters, generation: int = 0) -> None:
        """Fill the maps of a generation's set, which is empty. Raises BpfError."""
        contents = {name: (getattr(filters, name), b"\1") for name in FILTER_MAPS}
        if filters.ports:
            contents[PORTS] = (bytes(self._kinds[PORTS].key_size), filters.ports)
        for name, (keys, value) in contents.items():
            kind = self._kinds[name]
            if keys:
                with closing(Map(kind, name, len(keys) // kind.key_size)) as inner:
                    update_map(inner.fd, keys, kind.key_size, value)
                    put_map(self._bpf.map_fd(name), generation % SETS, inner)

    def _empty(self, generation: int) -> None:
        """Take out the maps of a generation's set: their memory is the kernel's again when no program uses them."""
        for name in self._kinds:
            put_map(self._bpf.map_fd(name), generation % SETS, None)

    def _wait_for_programs(self) -> None:
        """Return when none runs any more that has begun before, and may have the old generation in hand."""
        # The kernel waits so when it has put a map into another: here, where no program looks at it.
        kind = self._kinds[PORTS]
        with closing(Map(kind, PORTS, 1)) as nothing:
            put_map(self._bpf.map_fd(PORTS), SETS, nothing)

    def swap(self, filters: CompiledFilters, settings: memoryview, control: memoryview) -> None:
        """Fill the idle set, then have it judge; connections judged before keep their verdicts.

        settings, control: the sections' memory, control in words. Raises BpfError, and then nothing has changed.
        """
        old = control[GENERATION]
        new = old + 1
        size = layout.SETTINGS.size
        settings[new % SETS * size : (new % SETS + 1) * size] = filters.settings
        # Of what a swap that failed has left. The system calls are the barrier between the settings and the generation.
        self._empty(new)
        self.fill(filters, new)
        control[GENERATION] = new
        self._wait_for_programs()
        self._empty(old)
