"""The configuration: which connections to report, and what to report about them."""

from netmon.config.models import (
    BinaryFilter,
    Config,
    Direction,
    Ipv4Filter,
    Ipv6Filter,
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
    "NetnsFilter",
    "PortFilter",
    "ProcessFilter",
    "Report",
    "config_schema",
]
