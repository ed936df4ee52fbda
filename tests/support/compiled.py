"""Compiled filters to compare."""

from __future__ import annotations

from netmon.filters.compiled import KEY_MAPS, MET_MAPS, RULE_MAPS, CompiledFilters


def in_memory(filters: CompiledFilters) -> CompiledFilters:
    """Return filters with their keys read, if these are in a file, and without the file's digest."""
    names = (*KEY_MAPS, *RULE_MAPS, *MET_MAPS)
    return filters._replace(stored=None, digest=b"", **{name: getattr(filters, name)[:] for name in names})
