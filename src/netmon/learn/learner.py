"""Learns what programs connect to and accept, from events as dicts. Its memory is bounded, whatever processes do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netmon.config.checks import check_host
from netmon.learn.joining import JoiningTree, Room
from netmon.learn.places import Program, address_limit, address_path, is_loopback, name_limit, name_path, program_of
from netmon.peer_names import certain_name
from netmon.report import DIRECTION_OF
from netmon.rules.attributes import LATER
from netmon.rules.events import facts_of, is_judged

if TYPE_CHECKING:
    from netmon.rules.attributes import Facts, Json

MAX_PROGRAMS = 1000  # in each direction; as many rules as a section may have
MAX_PLACES = 1 << 16  # addresses, networks, names and domains of all programs together
MOST_PORTS = 16  # of a class: more are joined
ALL_PORTS = (0, 65535)
EPHEMERAL = (32768, 65535)
PORT_CLASSES = ((0, 1023), (1024, 32767), EPHEMERAL)

PortRange = tuple[int, int]

# Why a connection was not learned.
UNKNOWN_PROGRAM = "of processes whose path is not known whole"
UNKNOWN_DIRECTION = "of which the events do not say who opened them"
TOO_MANY_PROGRAMS = f"of more programs than {MAX_PROGRAMS:,}"
TOO_MANY_PLACES = "with more peers than there is room for"


class Peers:
    """Whom a program connects with by some ports.

    Attributes:
        count: How many connections.
        addresses: Of the peers without a name.
        names: Of the others.
    """

    def __init__(self, room: Room) -> None:
        """Make it. room: for its places."""
        self.count = 0
        self.addresses = JoiningTree(address_limit, room)
        self.names = JoiningTree(name_limit, room)

    def add(self, name: str | None, address: bytes) -> bool:
        """Add a connection; return whether there was room for its peer."""
        added = self.addresses.add(address_path(address)) if name is None else self.names.add(name_path(name))
        self.count += added
        return added

    def take(self, other: Peers) -> None:
        """Take over the peers of another one."""
        self.count += other.count
        self.addresses.update(other.addresses.take())
        self.names.update(other.names.take())


class Behaviour:
    """What a program does in one direction.

    Attributes:
        ports: By the server's ports, whom it connects with; many ports of a class are one range.
        local: Whom of this host itself it connects with by ephemeral ports, which differ from run to run.
    """

    def __init__(self, room: Room) -> None:
        """Make it. room: for places."""
        self._room = room
        self.ports: dict[PortRange, Peers] = {}
        self.local = Peers(room)

    def add(self, port: int, name: str | None, address: bytes) -> bool:
        """Add a connection; return whether there was room for its peer."""
        if port >= EPHEMERAL[0] and is_loopback(address):
            return self.local.add(name, address)
        whole = next(one for one in PORT_CLASSES if one[0] <= port <= one[1])
        ports = whole if whole in self.ports else (port, port)
        if ports not in self.ports:
            if self._room.left <= 0:
                return False
            others = [one for one in self.ports if whole[0] <= one[0] <= whole[1]]
            if len(others) >= MOST_PORTS:
                ports = whole
                self._join(whole, others)
            else:
                self.ports[ports] = Peers(self._room)
        return self.ports[ports].add(name, address)

    def _join(self, whole: PortRange, parts: list[PortRange]) -> None:
        joined = Peers(self._room)
        for part in parts:
            joined.take(self.ports.pop(part))
        self.ports[whole] = joined

    def join_all(self) -> None:
        """Make all ports one range."""
        self._join(ALL_PORTS, [*self.ports])
        self.ports[ALL_PORTS].take(self.local)
        self.local = Peers(self._room)

    def by_ports(self) -> Iterator[tuple[PortRange, Peers]]:
        """Yield whom it connects with by some ports, in the order of these."""
        for ports in sorted(self.ports):
            yield ports, self.ports[ports]
        if self.local.count:
            yield EPHEMERAL, self.local


class Learner:
    """Learns from events.

    Attributes:
        directions: By `ingress` and `egress`, what each program does.
        count: How many connections it has learned.
        left_out: How many others, by the reason.
        lost: How many events netmon has lost meanwhile.
        first: When the first one was; empty if there is none.
        last: When the last one was.
    """

    def __init__(self) -> None:
        """Make it."""
        self._room = Room(MAX_PLACES)
        self.directions: dict[str, dict[Program, Behaviour]] = {"ingress": {}, "egress": {}}
        self.count = self.lost = 0
        self.left_out: Counter[str] = Counter()
        self.first = self.last = ""

    def add(self, event: Json) -> None:
        """Learn from an event; only openings, attempts and aggregates say something new. Raises DecodeError."""
        if not is_judged(event):
            self.lost += event["lost_events"]["count"] if event["type"] == "LostEvents" else 0
            return
        facts = facts_of(event)
        if facts.kind not in LATER:
            reason = self._learn(event, facts)
            if reason:
                self.left_out[reason] += 1
            else:
                self.count += 1
                self.first = min(self.first or event["timestamp"], event["timestamp"])
                self.last = max(self.last, event["timestamp"])

    def _learn(self, event: Json, facts: Facts) -> str:
        """Learn a connection; return why not, if that is not possible."""
        direction = direction_of(facts)
        port = facts.dport if direction == "egress" else facts.sport
        if direction is None or port is None or facts.daddr is None:
            return UNKNOWN_DIRECTION
        program = program_of(event["process"])
        if program is None:
            return UNKNOWN_PROGRAM
        programs = self.directions[direction]
        behaviour = programs.get(program)
        if behaviour is None:
            if len(programs) >= MAX_PROGRAMS:
                return TOO_MANY_PROGRAMS
            behaviour = programs[program] = Behaviour(self._room)
        name = name_of_peer(facts) if direction == "egress" else None
        return "" if behaviour.add(port, name, facts.daddr) else TOO_MANY_PLACES

    def summary(self) -> str:
        """Return how much was learned, in words."""
        programs = sum(1 for _ in self.programs())
        return f"{connections(self.count)} of {programs:,} program{'s' * (programs != 1)}"

    def programs(self) -> Iterator[Program]:
        """Yield the programs, each once."""
        yield from dict.fromkeys(program for programs in self.directions.values() for program in programs)


def connections(number: int) -> str:
    """Return a number of connections in words."""
    return f"{number:,} connection{'s' * (number != 1)}"


def direction_of(facts: Facts) -> str | None:
    """Return who opened a connection, as far as its event says."""
    return facts.direction or DIRECTION_OF.get(facts.kind)


def name_of_peer(facts: Facts) -> str | None:
    """Return the name that rules compare; None if there is none, or if no rule can name it."""
    name = certain_name(facts.details)
    try:
        return None if name is None else check_host(name)
    except ValueError:
        return None
