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

from netmon.version import __version__

if TYPE_CHECKING:
    from netmon.command.run import CommandRun
    from netmon.config import Config
    from netmon.decode.known_process import KnownProcess
    from netmon.decode.raw_event import RawEvent
    from netmon.errors import BpfError, ConfigError, DecodeError, KernelError, LibbpfError, NetmonError, VerifierError
    from netmon.events import Event, Flow, LostCounts, LostEvents, NetworkEvent, NetworkSummary, Process, TcpConnection
    from netmon.files import read_events, replay
    from netmon.kernel.bpf import ProgramInfo
    from netmon.kernel.marks import FollowedProcess
    from netmon.listing import connections
    from netmon.losses import Losses
    from netmon.monitor import Counters, Monitor

__all__ = [
    "BpfError",
    "CommandRun",
    "Config",
    "ConfigError",
    "Counters",
    "DecodeError",
    "Event",
    "Flow",
    "FollowedProcess",
    "KernelError",
    "KnownProcess",
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
    "read_events",
    "replay",
]

# Each is imported when it is first used: pydantic, behind some of them, takes longer to import than all the others.
_MODULES = {
    "CommandRun": "command.run",
    "Config": "config",
    "Counters": "monitor",
    "Event": "events",
    "Flow": "events",
    "FollowedProcess": "kernel.marks",
    "KnownProcess": "decode.known_process",
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
    "read_events": "files",
    "replay": "files",
}


# Modules with public names of their own, likewise.
_SUBMODULES = ("config", "errors", "events", "layout")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"netmon.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"netmon.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_SUBMODULES]
