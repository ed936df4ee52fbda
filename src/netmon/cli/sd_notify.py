"""Tells the service manager that has started netmon how it goes, by sd_notify(3): systemd's protocol."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from netmon.cli.console import say

WATCHDOG = "WATCHDOG=1"
USEC_PER_SEC = 1_000_000
# How long (seconds) a service manager that is busy is waited for.
SEND_LIMIT = 5.0


class ServiceManager:
    """Waits for netmon to be ready, and restarts it when it is not told, again and again, that it is alive."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """environment: what it has of the service manager is taken out of it, for it is not meant for children."""
        self._address = environment.pop("NOTIFY_SOCKET")
        limit = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        # systemd wants to hear twice within its limit.
        self._interval = int(limit) / USEC_PER_SEC / 2 if limit.isdecimal() and pid == str(os.getpid()) else None
        self._next = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SEND_LIMIT)

    def tell(self, state: str) -> None:
        """Tell a state, as sd_notify(3) names them; that netmon is alive, only as often as is asked for."""
        if state == WATCHDOG:
            now = time.monotonic()
            if self._interval is None or now < self._next:
                return
            self._next = now + self._interval
        elif state == "RELOADING=1":
            state += f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
        try:
            self._socket.sendto(state.encode(), self._path)
        except OSError as error:
            say(f"NOTIFY_SOCKET={self._address}: {error.strerror or error}")

    @property
    def _path(self) -> str:
        """An abstract address begins with NUL, which cannot stand in the environment."""
        return "\0" + self._address[1:] if self._address.startswith("@") else self._address
