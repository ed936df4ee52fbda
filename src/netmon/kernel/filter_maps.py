"""The filters in the kernel: two sets of maps and settings, one in force while the other can be filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from netmon import layout
from netmon.filters.compiled import KEY_MAPS, MET_MAPS, PORTS, RULE_MAPS, RULE_PORTS, CompiledFilters
from netmon.kernel.bpf import BpfObject, Map, MapKind, put_map, update_map, update_values

GENERATION = layout.Control._fields.index("generation")
SETS = int(layout.TableSize.FILTER_SETS)


class FilterMaps:
    """Both filter sets of a BPF object, and the swap from one to the other.

    The generation counts the swaps, and its parity says which set is in force: one store swaps all of it at once.
    """

    def __init__(self, bpf: BpfObject, *, rules: bool) -> None:
        """Take an object that is not loaded yet.

        rules: Whether its code for rules is loaded. Without, what rules want is left to user space.
        """
        self._bpf = bpf
        self._rule_maps = RULE_MAPS if rules else ()
        self._arrays = (PORTS, RULE_PORTS) if rules else (PORTS,)
        self._kinds = {name: bpf.inner_map_kind(name) for name in (*KEY_MAPS, *self._rule_maps, *self._arrays)}
        if not rules:
            for name in (*RULE_MAPS, RULE_PORTS):
                bpf.leave_out(name)

    def kind(self, name: str) -> MapKind:
        """Return the definition of a filter map."""
        return self._kinds[name]

    def initial_settings(self, filters: CompiledFilters) -> bytes:
        """Return the section .data.settings to load the object with: the first set in force, the other empty."""
        return filters.settings + bytes(layout.SETTINGS.size * (SETS - 1))

    def fill(self, filters: CompiledFilters, generation: int = 0) -> None:
        """Fill the maps of a generation's set, which is empty. Raises BpfError."""
        for name in KEY_MAPS:
            if keys := getattr(filters, name):
                with self._new(name, len(keys), generation) as inner:
                    update_map(inner.fd, keys, inner.kind.key_size, b"\1")
        for name, met in zip(self._rule_maps, MET_MAPS, strict=False):  # there are none without the code for rules
            if keys := getattr(filters, name):
                with self._new(name, len(keys), generation) as inner:
                    update_values(inner.fd, keys, getattr(filters, met), inner.kind)
        for name in self._arrays:
            if value := getattr(filters, name):
                key = bytes(self._kinds[name].key_size)
                with self._new(name, len(key), generation) as inner:
                    update_map(inner.fd, key, len(key), value)

    @contextmanager
    def _new(self, name: str, size: int, generation: int) -> Iterator[Map]:
        """Yield a map to fill, which becomes the one of a generation's set. size: of all its keys, in bytes."""
        kind = self._kinds[name]
        with closing(Map(kind, name, size // kind.key_size)) as inner:
            yield inner
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
