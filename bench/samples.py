"""Sends the host measurements and progress."""

from __future__ import annotations

import time

from vm.guest.channel import Channel


class Samples:
    """The measurements of one run."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._start = time.monotonic()

    def send(self, round_: int, monitor: str, load: str, **figures: float) -> None:
        self._channel.send(sample={"round": round_, "monitor": monitor, "load": load, "figures": figures})

    def say(self, text: str) -> None:
        self._channel.send(stderr=f"bench: {time.monotonic() - self._start:6.1f} s: {text}\n")
