"""netmon: every TCP connection on a Linux host, with the process behind it.

from netmon import Config, Monitor

with Monitor(Config.from_yaml("netmon.yaml")) as monitor:
    for event in monitor:
        print(event.network_event.daddr, event.process.binary_path)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.decode.decoder import RawEvent
    from netmon.errors import BpfError, ConfigError, DecodeError, KernelError, LibbpfError, NetmonError, VerifierError
    from netmon.events import Event, Flow, LostEvents, NetworkEvent, NetworkSummary, Process, TcpConnection
    from netmon.losses import Losses
    from netmon.monitor import Counters, Monitor

__version__ = "0.1.0"

__all__ = [
    "BpfError",
    "Config",
    "ConfigError",
    "Counters",
    "DecodeError",
    "Event",
    "Flow",
    "KernelError",
    "LibbpfError",
    "Losses",
    "LostEvents",
    "Monitor",
    "NetmonError",
    "NetworkEvent",
    "NetworkSummary",
    "Process",
    "RawEvent",
    "TcpConnection",
    "VerifierError",
    "__version__",
]

# Imported when first asked for: pydantic, behind some of them, takes longer to import than all else together.
_MODULES = {
    "Config": "config",
    "Counters": "monitor",
    "Event": "events",
    "Flow": "events",
    "Losses": "losses",
    "LostEvents": "events",
    "Monitor": "monitor",
    "NetworkEvent": "events",
    "NetworkSummary": "events",
    "Process": "events",
    "RawEvent": "decode.decoder",
    "TcpConnection": "events",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"netmon.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
