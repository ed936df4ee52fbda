"""netmon: every TCP connection on a Linux host, with the process behind it.

from netmon import Config, Monitor

with Monitor(Config.from_yaml("netmon.yaml")) as monitor:
    for event in monitor:
        print(event.network_event.daddr, event.process.binary_path)
"""

from netmon.config import Config
from netmon.errors import BpfError, ConfigError, DecodeError, NetmonError
from netmon.events import NetworkEvent, Process, TcpConnection
from netmon.monitor import Monitor
from netmon.probes import Losses

__version__ = "0.1.0"

__all__ = [
    "BpfError",
    "Config",
    "ConfigError",
    "DecodeError",
    "Losses",
    "Monitor",
    "NetmonError",
    "NetworkEvent",
    "Process",
    "TcpConnection",
    "__version__",
]
