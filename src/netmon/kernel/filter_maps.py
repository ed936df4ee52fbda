"""The filters in the kernel: two sets of maps and settings, one in force while the other can be filled."""

from __future__ import annotations

from contextlib import closing

from netmon import layout
from netmon.filters.compiled import KEY_MAPS, PORTS, CompiledFilters
from netmon.kernel.bpf import BpfObject, Map, put_map, update_map

GENERATION = layout.Control._fields.index("generation")
SETS = int(layout.TableSize.FILTER_SETS)


class FilterMaps:
    """Both filter sets of a BPF object, and the swap from one to the other.

    The generation counts the swaps, and its parity says which set is in force: one store swaps all of it at once.
    """

    def __init__(self, bpf: BpfObject) -> None:
        """Take an object that is not loaded yet."""
        self._bpf = bpf
        self._kinds = {name: bpf.inner_map_kind(name) for name in (*KEY_MAPS, PORTS)}

    def initial_settings(self, filters: CompiledFilters) -> bytes:
        """Return the section .data.settings to load the object with: the first set in force, the other empty."""
        return filters.settings + bytes(layout.SETTINGS.size * (SETS - 1))

    def fill(self, filters: CompiledFilters, generation: int = 0) -> None:
        """Fill the maps of a generation's set, which is empty. Raises BpfError."""
        contents = {name: (getattr(filters, name), b"\1") for name in KEY_MAPS}
        if filters.ports:
            contents[PORTS] = (bytes(self._kinds[PORTS].key_size), filters.ports)
        for name, (keys, value) in contents.items():
            kind = self._kinds[name]
            if keys:
                with closing(Map(kind, name, len(keys) // kind.key_size)) as inner:
                    update_map(inner.fd, keys, kind.key_size, value)
                    put_map(self._bpf.map_fd(name), generation % SETS, inner)

    def _empty(self, generation: int) -> None:
        """Remove the maps of a generation's set; the kernel frees them when no program uses them any more."""
        for name in self._kinds:
            put_map(self._bpf.map_fd(name), generation % SETS, None)

    def _wait_for_programs(self) -> None:
        """Wait for the programs that run now: they may have read the old generation."""
        # The kernel waits for them whenever a map is replaced: here, in an element that no program reads.
        kind = self._kinds[PORTS]
        with closing(Map(kind, PORTS, 1)) as unused:
            put_map(self._bpf.map_fd(PORTS), SETS, unused)

    def forget_verdicts(self, control: memoryview) -> None:
        """Have each process evaluated again, by the filters in force: the next generation that uses their set.

        Args:
            control: The memory of the section .data.control, as words.
        """
        control[GENERATION] += SETS

    def swap(self, filters: CompiledFilters, settings: memoryview, control: memoryview) -> None:
        """Fill the idle set and put it in force. Connections that are open keep their verdicts.

        Args:
            filters: The new filters.
            settings: The memory of the section .data.settings.
            control: The memory of the section .data.control, as words.

        Raises:
            BpfError: The kernel refuses; the old filters stay in force.
        """
        old = control[GENERATION]
        new = old + 1
        size = layout.SETTINGS.size
        settings[new % SETS * size : (new % SETS + 1) * size] = filters.settings
        # A swap that failed may have left maps in the idle set. The system calls that empty and fill it are the barrier
        # between the settings above and the generation below.
        self._empty(new)
        self.fill(filters, new)
        control[GENERATION] = new
        self._wait_for_programs()
        self._empty(old)
