"""What a guest is to measure: said by the host, read in the guest."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The sizes of one run's loads, and whom they are put on."""

    kernel: str
    monitors: tuple[str, ...]
    rounds: int
    connections: int
    processes: int
    idle: int
    cidrs: tuple[int, ...]
    flood: int = 0  # connections in one go; a long run is planned when there are any

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, text: str) -> Plan:
        values: dict[str, Any] = json.loads(text)
        for name in ("monitors", "cidrs"):
            values[name] = tuple(values[name])
        return cls(**values)

    def orders(self) -> Iterator[list[str]]:
        """Yield each round's order of monitors: turned each time, so that a drift of the machine hits all alike."""
        for round_ in range(self.rounds):
            turn = round_ * len(self.monitors) // self.rounds
            yield [*self.monitors[turn:], *self.monitors[:turn]]


# Sizes by name of the options that change them. A guest makes some 4,000 connections a second.
DEFAULT = Plan("", (), 3, connections=10_000, processes=500, idle=10_000, cidrs=(10, 1_000, 100_000, 1_000_000))
QUICK = dataclasses.replace(DEFAULT, rounds=1, connections=5_000, processes=200, cidrs=(10, 1_000))
LONG = dataclasses.replace(DEFAULT, rounds=1, connections=1_000_000, processes=100_000, idle=0, cidrs=(), flood=200_000)


def cidrs(count: int) -> Iterator[str]:
    """Yield different networks from all over the address space, so that looking one up goes deep; one is loopback's."""
    yield "127.0.0.0/8"
    chosen = random.Random(count)
    seen: set[tuple[int, int]] = set()
    while len(seen) < count - 1:
        length = chosen.randint(16, 32)
        network = chosen.getrandbits(length) << (32 - length)
        if (network, length) not in seen:
            seen.add((network, length))
            yield str(IPv4Network((network, length)))
