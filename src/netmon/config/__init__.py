"""What to watch: the configuration's models, read from YAML, a mapping or Python."""

from netmon.config.models import (
    BinaryFilter,
    Config,
    Direction,
    Egress,
    Ipv4Filter,
    Ipv6Filter,
    NetnsFilter,
    PortFilter,
    ProcessFilter,
    config_schema,
)

__all__ = [
    "BinaryFilter",
    "Config",
    "Direction",
    "Egress",
    "Ipv4Filter",
    "Ipv6Filter",
    "NetnsFilter",
    "PortFilter",
    "ProcessFilter",
    "config_schema",
]
