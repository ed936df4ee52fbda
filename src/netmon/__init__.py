"""netmon: every TCP connection on a Linux host, with the process behind it.

    from netmon import Monitor

    with Monitor() as monitor:
        for event in monitor:
            print(event.process.binary_path, event.network_event.daddr)

See docs/library.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.decode.raw_event import RawEvent
    from netmon.errors import BpfError, ConfigError, DecodeError, KernelError, LibbpfError, NetmonError, VerifierError
    from netmon.events import Event, Flow, LostCounts, LostEvents, NetworkEvent, NetworkSummary, Process, TcpConnection
    from netmon.kernel.bpf import ProgramInfo
    from netmon.listing import connections
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
    "LostCounts",
    "LostEvents",
    "Monitor",
    "NetmonError",
    "NetworkEvent",
    "NetworkSummary",
    "Process",
    "ProgramInfo",
    "RawEvent",
    "TcpConnection",
    "VerifierError",
    "__version__",
    "connections",
]

# Each is imported when it is first used: pydantic, behind some of them, takes longer to import than all the others.
_MODULES = {
    "Config": "config",
    "Counters": "monitor",
    "Event": "events",
    "Flow": "events",
    "Losses": "losses",
    "LostCounts": "events",
    "LostEvents": "events",
    "Monitor": "monitor",
    "NetworkEvent": "events",
    "NetworkSummary": "events",
    "Process": "events",
    "ProgramInfo": "kernel.bpf",
    "RawEvent": "decode.raw_event",
    "TcpConnection": "events",
    "connections": "listing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"netmon.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
