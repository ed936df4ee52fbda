"""Sends states to the service manager that started netmon, by systemd's protocol sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from netmon.cli.console import say

WATCHDOG = "WATCHDOG=1"
USEC_PER_SEC = 1_000_000
# How long (seconds) to wait for a service manager that is too busy to receive.
SEND_LIMIT = 5.0


class ServiceManager:
    """Sends states to the service manager, which waits for READY and restarts netmon if signs of life stop."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the service manager's variables out of environment: they are not meant for child processes.

        Raises OSError.
        """
        self._address = environment.pop("NOTIFY_SOCKET")
        limit = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        # systemd's advice: a sign of life at each half of its limit.
        self._interval = int(limit) / USEC_PER_SEC / 2 if limit.isdecimal() and pid == str(os.getpid()) else None
        self._next = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SEND_LIMIT)

    def notify(self, state: str) -> None:
        """Send a state, by its name in sd_notify(3); WATCHDOG=1 only as often as the service manager wants it."""
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
        """The address as the kernel takes it: @ stands for the NUL of an abstract one, which no variable can hold."""
        return "\0" + self._address[1:] if self._address.startswith("@") else self._address
