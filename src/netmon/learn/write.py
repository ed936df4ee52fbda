"""Writes what was learned as a configuration: its rules leave out what is expected, so that the rest is reported."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import count
from typing import NamedTuple

from netmon.config.yaml_writer import quoted
from netmon.learn.learner import ALL_PORTS, Behaviour, Learner, Peers, PortRange, connections
from netmon.learn.places import NOT_PUBLIC, PUBLIC, Comparison, Program, address_of, name_of
from netmon.rules.attributes import ATTRIBUTES

MAX_RULES = 1000  # of a direction, as many as a section may have
MAX_COMPARISONS = 19_000  # of all rules, fewer than a configuration may have
MAX_LISTS = 900  # of values that a condition cannot have
MAX_VALUES, MAX_CHARACTERS = 200, 30_000  # of the peers in a condition
WIDTH = 112  # of a line, where values allow it
MAX_NAME = 40  # characters of a rule's name, without its number

_TIME = re.compile(r"[0-9T:.Z-]{10,30}", re.ASCII)
NAME, PATTERN, NETWORK, INTERNET = "=*@!"  # kinds of targets; the last one is all public addresses of a family
NOT_PUBLIC_LIST = "not_public"

HEADER = """\
# What programs connect to and accept, as netmon has seen it:
# {summary}.
# Read it before you rely on it: what was wrong then is expected from now on.
#
#   netmon rules check FILE                is it right?
#   netmon run --expect FILE               reports and counts what is not expected
#   netmon exec --expect FILE -- COMMAND   exits with 3 if anything was not expected
#
# Each rule says what is expected, and leaves it out (action: drop). The rest is reported (unmatched: report).
"""


class _Group(NamedTuple):
    """A rule: ports, and whom a program connects with by them."""

    ports: tuple[PortRange, ...]
    peers: Sequence[str]  # as of _targets(); none: anybody
    connections: int


class _Writer:
    """Writes one configuration. It keeps the values that go into lists."""

    def __init__(self, *, marked: bool = False) -> None:
        """Make it. marked: the names of rules say what is in them, so that they are none of another file."""
        self._marked = marked
        self.lists: dict[tuple[str, ...], str] = {}  # values -> names of lists
        self.uses: set[str] = set()  # attributes
        self.left_out = 0
        self._names: set[str] = set()  # of rules
        self._comparisons = MAX_COMPARISONS

    def rules(self, direction: str, programs: Mapping[Program, Behaviour]) -> Iterator[list[str]]:
        """Yield the lines of each rule."""
        found = {program: _groups(programs[program]) for program in sorted(programs, key=_order)}
        _coarsen(programs, found)
        for program, groups in found.items():
            for group in groups:
                lines = self._rule(direction, program, group)
                if lines:
                    yield lines
                else:
                    self.left_out += group.connections

    def _rule(self, direction: str, program: Program, group: _Group) -> list[str]:
        """Return the lines of a rule; none if there are too many values that need a list."""
        comparisons = (program.binary, *program.further)
        parts = [*map(self._written, comparisons)]
        if group.ports != (ALL_PORTS,):
            parts.append(_ports("port_dst" if direction == "egress" else "port_src", group.ports))
        if group.peers:
            peers = [*self._accepting(group.peers)]
            parts.append(peers[0] if len(peers) == 1 else f"({' OR '.join(peers)})")
            self._comparisons -= len(peers) * 2
        self._comparisons -= len(parts)
        if self._comparisons < 0 or len(self.lists) > MAX_LISTS:
            return []
        lines = [*_folded(parts, " " * 6)]
        name = self._name_of(program, lines)
        return [
            f"  - rule: {quoted(name)}  # {connections(group.connections)}",
            "    action: drop",
            "    when: >-",
            *lines,
        ]

    def _written(self, one: Comparison) -> str:
        """Return a comparison with a text; one that a condition cannot have is put into a list."""
        self.uses.add(one.attribute)
        if one.text.isprintable() and '"' not in one.text:
            return f'{one.attribute} {one.operator} "{one.text}"'
        return f"{one.attribute} {'in' if one.operator == '==' else one.operator} {self._list((one.text,))}"

    def _list(self, values: tuple[str, ...]) -> str:
        """Return the name of a list of values."""
        number = _digest("\n".join(values)) if self._marked else len(self.lists) + 1
        return self.lists.setdefault(values, f"values_{number}")

    def _accepting(self, targets: Sequence[str]) -> Iterator[str]:
        """Yield comparisons of which one accepts each of some targets."""
        for kind, attribute in ((NAME, "domain"), (NETWORK, "ip_dst")):
            values = [f'"{target[1:]}"' for target in targets if target[0] == kind]
            if values:
                self.uses.add(attribute)
                yield f"{attribute} == {values[0]}" if len(values) == 1 else f"{attribute} in [{', '.join(values)}]"
            if kind == NAME and (patterns := tuple(target[1:] for target in targets if target[0] == PATTERN)):
                self.uses.add(attribute)
                yield f'domain like "{patterns[0]}"' if len(patterns) == 1 else f"domain like {self._list(patterns)}"
        for target in targets:
            if target[0] == INTERNET:
                yield f'(ip_dst == "{target[1:]}" AND NOT ip_dst in {NOT_PUBLIC_LIST})'

    def _name_of(self, program: Program, condition: Sequence[str]) -> str:
        base = (
            re.sub(r"[^A-Za-z0-9._+-]+", "_", program.binary.text.rpartition("/")[2])[:MAX_NAME].strip("_") or "program"
        )
        if self._marked:
            base += f"-{_digest(' '.join(condition))}"
        name = next(name for i in count(1) if (name := base if i == 1 else f"{base}-{i}") not in self._names)
        self._names.add(name)
        return name


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def write_expectation(learner: Learner, directions: Collection[str] = ("ingress", "egress")) -> str:
    """Return what was learned as a configuration.

    Args:
        learner: What was learned.
        directions: Those that were watched. Of another one nothing is expected, and nothing unexpected.
    """
    writer = _Writer()
    sections: list[str] = []
    for direction in ("ingress", "egress"):
        sections += [f"{direction}:", f"  enabled: {'true' if direction in directions else 'false'}"]
        rules = [*writer.rules(direction, learner.directions[direction])] if direction in directions else []
        sections += ["  rules:", *(line for rule in rules for line in rule)] if rules else []
    needs = sorted({need for name in writer.uses for need in ATTRIBUTES[name].needs})
    report = ["report:", *(f"  {name}: true" for name in needs)] if needs else []
    notes = [f"# netmon lost {learner.lost:,} events meanwhile: connections may be missing."] if learner.lost else []
    notes += [f"# Not learned: {connections(number)} {reason}." for reason, number in sorted(learner.left_out.items())]
    if writer.left_out:
        notes.append(f"# Not written: {connections(writer.left_out)} of programs with odd names: there are too many.")
    header = HEADER.format(summary=_summary(learner)).splitlines()
    return "\n".join([*header, *notes, *report, *sections, "unmatched: report", *_lists(writer, sections), ""])


def write_rules(learner: Learner, most: int) -> tuple[list[str], int]:
    """Return rules that would allow what was learned, as lines to add to a configuration.

    Args:
        learner: What was learned.
        most: How many rules there are, at most.

    Returns:
        The lines, and how many further rules there would be.
    """
    writer = _Writer(marked=True)
    lines: list[str] = []
    more = 0
    for direction in ("ingress", "egress"):
        rules = [*writer.rules(direction, learner.directions[direction])]
        kept = rules[: max(0, most)]
        most -= len(kept)
        more += len(rules) - len(kept)
        lines += [f"{direction}:", "  rules:", *(line for rule in kept for line in rule)] if kept else []
    return [*lines, *_lists(writer, lines)], more


def _summary(learner: Learner) -> str:
    times = [time if _TIME.fullmatch(time) else "?" for time in (learner.first, learner.last)]
    period = f", {times[0]} to {times[1]}" if learner.count else ""
    return f"{learner.summary()}{period}"


def _lists(writer: _Writer, sections: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for texts, name in writer.lists.items():
        lines += [f"- list: {name}", f"  items: [{', '.join(map(quoted, texts))}]"]
    if any(NOT_PUBLIC_LIST in line for line in sections):
        lines += [f"- list: {NOT_PUBLIC_LIST}", f"  items: [{', '.join(map(quoted, NOT_PUBLIC))}]"]
    return ["lists:", *lines] if lines else []


def _order(program: Program) -> tuple[object, ...]:
    """Sort programs by their path, those with more conditions first: a rule must not hide another one below it."""
    return program.binary.text, program.binary.operator, -len(program.further), program.further


def _groups(behaviour: Behaviour) -> list[_Group]:
    """Return rules: ports with the same peers are one; a rule with too many peers is several."""
    by_peers: dict[tuple[str, ...], list[PortRange]] = defaultdict(list)
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    for ports, peers in behaviour.by_ports():
        targets = tuple(_targets(peers))
        by_peers[targets].append(ports)
        counts[targets] += peers.count
    return [
        _Group(tuple(ports), part, counts[targets]) for targets, ports in by_peers.items() for part in _parts(targets)
    ]


def _coarsen(programs: Mapping[Program, Behaviour], found: dict[Program, list[_Group]]) -> None:
    """Join the rules of a program, of those with most rules first, until there are few enough."""
    total = sum(map(len, found.values()))
    for program in sorted(found, key=lambda one: (-len(found[one]), _order(one))):
        if total <= MAX_RULES:
            return
        total -= len(found[program]) - 1
        number = sum(peers.count for _, peers in programs[program].by_ports())
        behaviour = programs[program]
        behaviour.join_all()
        groups = _groups(behaviour)
        found[program] = groups if len(groups) == 1 else [_Group((ALL_PORTS,), (), number)]


def _targets(peers: Peers) -> Iterator[str]:
    """Yield peers: names before networks before addresses; each with a letter for its kind."""
    for place in peers.names.places():
        name = name_of(place.path)
        if place.itself:
            yield f"{NAME}{name}"
        if place.joined:
            yield f"{PATTERN}{f'**.{name}' if name else '**'}"
    for _, _, text in sorted(address_of(place.path) for place in peers.addresses.places()):
        yield f"{INTERNET if text in PUBLIC.values() else NETWORK}{text}"


def _parts(targets: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the targets in parts that a condition has room for; at least one."""
    part: list[str] = []
    size = 0
    for target in targets:
        if part and (len(part) >= MAX_VALUES or size + len(target) > MAX_CHARACTERS):
            yield part
            part, size = [], 0
        part.append(target)
        size += len(target) + 4
    yield part


def _ports(attribute: str, ports: Sequence[PortRange]) -> str:
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in ports]
    return f"{attribute} == {texts[0]}" if len(texts) == 1 else f"{attribute} in [{', '.join(texts)}]"


def _folded(parts: Sequence[str], indent: str) -> Iterator[str]:
    """Yield the lines of a condition, which YAML joins: in one, or one for each part, broken outside of quotes."""
    whole = " AND ".join(parts)
    if len(indent) + len(whole) <= WIDTH:
        yield indent + whole
        return
    for number, part in enumerate(parts):
        line = indent + ("AND " if number else "")
        for word in re.findall(r'(?:"[^"]*"|[^\s"])+', part):
            if len(line) + len(word) > WIDTH and line.strip():
                yield line.rstrip()
                line = indent
            line += f"{word} "
        yield line.rstrip()
