"""The configuration: which connections to report, and what to report about them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netmon.config.models import (
        BinaryFilter,
        Config,
        Direction,
        Ipv4Filter,
        Ipv6Filter,
        NameFilter,
        NetnsFilter,
        PortFilter,
        ProcessFilter,
        config_schema,
    )
    from netmon.report import Report

__all__ = [
    "BinaryFilter",
    "Config",
    "Direction",
    "Ipv4Filter",
    "Ipv6Filter",
    "NameFilter",
    "NetnsFilter",
    "PortFilter",
    "ProcessFilter",
    "Report",
    "config_schema",
]


def __getattr__(name: str) -> Any:
    """Import what is used: the models need pydantic, which is slow to import, and the command does not need them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("netmon.report" if name == "Report" else "netmon.config.models"), name)


def __dir__() -> list[str]:
    return __all__
