"""The plan of a run, which the host writes and the guest reads."""

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
    """The monitors of one run, and the sizes of its loads."""

    kernel: str
    monitors: tuple[str, ...]
    rounds: int
    connections: int
    processes: int
    idle: int
    cidrs: tuple[int, ...]
    flood: int = 0  # connections without a pause; not 0: a long run
    counted: bool = False  # count instructions, of the monitors COUNTED
    rules: tuple[int, ...] = ()  # and of netmon with so many rules, and with lists of `cidrs`
    byte_counts: bool = False  # compare how many bytes monitors count

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, text: str) -> Plan:
        values: dict[str, Any] = json.loads(text)
        for name in ("monitors", "cidrs", "rules"):
            values[name] = tuple(values[name])
        return cls(**values)

    def orders(self) -> Iterator[list[str]]:
        """Yield the order of monitors in each round. It rotates, so that a drift of the machine affects all alike."""
        for round_ in range(self.rounds):
            turn = round_ * len(self.monitors) // self.rounds
            yield [*self.monitors[turn:], *self.monitors[:turn]]


# A long run: its parts, and the seconds for which its reader takes nothing, once a part.
PARTS = 20
STALL = 10

# Options of the same names change the sizes. A guest makes about 4,000 connections a second.
DEFAULT = Plan("", (), 3, connections=10_000, processes=500, idle=10_000, cidrs=(10, 1_000, 100_000, 1_000_000))
QUICK = dataclasses.replace(DEFAULT, rounds=1, connections=5_000, processes=200, cidrs=(10, 1_000))
COUNTED = dataclasses.replace(DEFAULT, rounds=1, connections=4_000, processes=0, idle=0, cidrs=(), counted=True)
RULES = dataclasses.replace(COUNTED, rules=(1, 20, 200), cidrs=(10, 1_000, 100_000))
BYTE_COUNTS = dataclasses.replace(DEFAULT, rounds=1, connections=0, processes=0, idle=0, cidrs=(), byte_counts=True)
LONG = dataclasses.replace(DEFAULT, rounds=1, connections=1_000_000, processes=50_000, idle=0, cidrs=(), flood=200_000)


def cidrs(count: int) -> Iterator[str]:
    """Yield different networks from all of the address space, so that lookups go deep; one is the loopback network."""
    yield "127.0.0.0/8"
    chosen = random.Random(count)
    seen: set[tuple[int, int]] = set()
    while len(seen) < count - 1:
        length = chosen.randint(16, 32)
        network = chosen.getrandbits(length) << (32 - length)
        if (network, length) not in seen:
            seen.add((network, length))
            yield str(IPv4Network((network, length)))
