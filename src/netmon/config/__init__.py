"""What to watch: the configuration's models, read from YAML, a mapping or Python."""

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
