"""The guest's side of the channel to the host: lines of JSON on the second serial port."""

from __future__ import annotations

import json
import os
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any

PORT = "/dev/ttyS1"


class Channel:
    """The second serial port."""

    def __init__(self) -> None:
        self.fd = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd, termios.TCSANOW)
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send one message: a line of JSON."""
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self.fd, data) :]


def serve(work: Callable[[Channel], int]) -> None:
    """Do a guest's work, and send the host its exit code as the last message.

    Args:
        work: sends the host what it finds, and returns an exit code.
    """
    channel = Channel()
    code = 1
    try:
        code = work(channel)
    finally:
        channel.send(end=code)
        termios.tcdrain(channel.fd)
