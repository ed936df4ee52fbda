"""What rules want, as the maps that the kernel half looks values up in: see bpf/rules.h.

A set of alternatives is a number, a bit each. A list's key has the set of those that a value with this key meets, those
included that do not compare the list.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple, cast

from netmon.layout import IPV4_CIDR_KEY, IPV6_CIDR_KEY, PREFIX_KEY, Direction, Endpoint, Family, Limit, RuleList
from netmon.rules.attributes import DELETED
from netmon.rules.sets import IPV6_BEGIN, Ranges, Texts, TextSet, complement, intersect
from netmon.rules.wanted import MANY, Alternative, Wanted

MAX_PREFIXES = 1 << 22  # in all lists of numbers: what would make more is not compared
PORT_CLASSES = int(Limit.RULE_PORT_CLASSES)
PORTS = int(Limit.PORT_COUNT)
LIST_BYTES = Limit.CIDR_LIST_BITS // 8

# The lists of numbers: the attribute that they compare, where its numbers begin that they have, and of how many bits.
_NUMBERS = {
    RuleList.IPV4_SRC: ("ip_src", 0, 32),
    RuleList.IPV4_DST: ("ip_dst", 0, 32),
    RuleList.IPV6_SRC: ("ip_src", IPV6_BEGIN, 128),
    RuleList.IPV6_DST: ("ip_dst", IPV6_BEGIN, 128),
    **{RuleList[key.upper()]: (key, 0, 32) for key in ("netns", "uid", "euid", "gid", "egid", "auid")},
}
_PORTS = {Endpoint.SRC: ("port_src", RuleList.PORT_SRC), Endpoint.DST: ("port_dst", RuleList.PORT_DST)}
_IPV6_LISTS = (RuleList.IPV6_SRC, RuleList.IPV6_DST)
_FAMILY_OF = {
    RuleList.IPV4_SRC: Family.IPV4,
    RuleList.IPV4_DST: Family.IPV4,
    RuleList.IPV6_SRC: Family.IPV6,
    RuleList.IPV6_DST: Family.IPV6,
}


class Bits(NamedTuple):
    """What a key says by itself: the alternatives that demand it, and those that rule it out."""

    demand: int = 0
    exclude: int = 0


class RuleKeys(NamedTuple):
    """What the kernel half loads of rules.

    Attributes:
        settings: The fields of struct settings, by their names.
        numbers: The keys of IPv4 addresses and ids; for each of the next four, the keys and the sets that these have.
        ipv6: Of IPv6 addresses.
        texts: Of paths and names.
        prefixes: Of beginnings of paths.
        ports: A struct rule_ports; none if no port is compared.
    """

    settings: dict[str, int]
    numbers: tuple[bytes, bytes] = (b"", b"")
    ipv6: tuple[bytes, bytes] = (b"", b"")
    texts: tuple[bytes, bytes] = (b"", b"")
    prefixes: tuple[bytes, bytes] = (b"", b"")
    ports: bytes = b""


class _Keys:
    """Collects the keys of a map, each with a set of alternatives."""

    def __init__(self) -> None:
        self.keys = bytearray()
        self.met = array("Q")

    def add(self, key: bytes, met: int) -> None:
        self.keys += key
        self.met.append(met)

    @property
    def both(self) -> tuple[bytes, bytes]:
        return bytes(self.keys), self.met.tobytes()


def rule_keys(wanted: Wanted) -> RuleKeys:
    """Return what the kernel half loads; settings alone that limit nothing, if everything is wanted."""
    if wanted.is_everything:
        return RuleKeys({})
    return _Compiler(wanted.alternatives).compile()


class _Compiler:
    def __init__(self, alternatives: Sequence[Alternative]) -> None:
        self._alternatives = alternatives
        self._all = (1 << len(alternatives)) - 1
        self._compared = dict.fromkeys(RuleList, 0)
        self._otherwise = dict.fromkeys(RuleList, self._all)
        self._impossible = {Family.IPV4: 0, Family.IPV6: 0}
        self._prefixes = 0

    def compile(self) -> RuleKeys:
        numbers, ipv6, texts, prefixes = _Keys(), _Keys(), _Keys(), _Keys()
        for list_ in _NUMBERS:
            self._compile_numbers(list_, ipv6 if list_ in _IPV6_LISTS else numbers)
        self._compile_names(texts)
        self._compile_paths(texts, prefixes)
        ports = self._compile_ports()
        return RuleKeys(self._settings(), numbers.both, ipv6.both, texts.both, prefixes.both, ports)

    def _settings(self) -> dict[str, int]:
        settings = {"limited": 1}
        for direction in Direction:
            open_to = self._open_to(direction.name.lower())
            for family in Family:
                settings[f"wanted_possible_{direction:d}_{family:d}"] = open_to & ~self._impossible[family]
        of_process = 0
        for list_ in RuleList:
            settings[f"wanted_compared_{list_:d}"] = self._compared[list_]
            settings[f"wanted_otherwise_{list_:d}"] = self._otherwise[list_]
            of_process |= self._compared[list_] if list_ >= RuleList.UID else 0
        settings["limited_by_process"] = bool(of_process)
        return settings

    def _open_to(self, direction: str) -> int:
        """Return the alternatives that a direction meets."""
        found = self._all
        for bit, values in self._texts_of("direction"):
            if not all(test.accepts(direction) for test in values.tests):
                found &= ~bit
        return found

    def _compare(self, list_: RuleList, bits: Bits) -> Callable[[Bits], int]:
        """Note which alternatives compare a list. Return a function: what a key meets, by what holds for it.

        bits: The alternatives that demand a key, and those that exclude some.
        """
        self._compared[list_] = bits.demand | bits.exclude
        self._otherwise[list_] = self._all & ~bits.demand
        free = self._otherwise[list_]
        return cache(lambda found: (free | found.demand) & ~found.exclude)

    # Numbers

    def _compile_numbers(self, list_: RuleList, keys: _Keys) -> None:
        attribute, begin, bits = _NUMBERS[list_]
        universe = ((begin, begin + (1 << bits) - 1),)
        demand: list[tuple[Ranges, int]] = []
        exclude: list[tuple[Ranges, int]] = []
        for i, ranges in self._ranges_of(attribute, universe):
            if ranges == universe:
                continue
            if not ranges:
                if list_ in _FAMILY_OF:
                    self._impossible[_FAMILY_OF[list_]] |= 1 << i
                continue
            outside = complement(ranges, universe)
            listed, into = (ranges, demand) if len(ranges) <= len(outside) else (outside, exclude)
            count = _most_prefixes(listed)
            if self._prefixes + count <= MAX_PREFIXES:
                self._prefixes += count
                into.append((listed, 1 << i))
        if not demand and not exclude:
            return
        meets = self._compare(list_, Bits(_all_bits(demand), _all_bits(exclude)))
        number = list_.to_bytes(LIST_BYTES, "big")
        pack = (IPV6_CIDR_KEY if bits == 128 else IPV4_CIDR_KEY).pack
        size = bits // 8
        streams = [
            *(_prefixes(ranges, begin, bits, Bits(demand=alternatives)) for ranges, alternatives in _shared(demand)),
            *(_prefixes(ranges, begin, bits, Bits(exclude=alternatives)) for ranges, alternatives in _shared(exclude)),
        ]
        merged = _joined(heapq.merge(*streams), bits) if len(streams) > 1 else streams[0]
        for address, length, found in merged:
            keys.add(pack(Limit.CIDR_LIST_BITS + length, number, address.to_bytes(size, "big")), meets(found))

    def _ranges_of(self, attribute: str, universe: Ranges) -> Iterator[tuple[int, Ranges]]:
        """Yield the alternatives that compare an attribute, and what they accept of some numbers."""
        cut: dict[int, Ranges] = {}  # by the identity of what was cut, which the alternatives keep
        for i, one in enumerate(self._alternatives):
            if attribute in one:
                ranges = cast("Ranges", one[attribute])
                if id(ranges) not in cut:
                    cut[id(ranges)] = intersect(ranges, universe)
                yield i, cut[id(ranges)]

    # Ports

    def _compile_ports(self) -> bytes:
        classes, met = bytearray(), array("Q")
        for attribute, list_ in _PORTS.values():
            limits = [
                (i, ranges)
                for i, ranges in self._ranges_of(attribute, ((0, PORTS - 1),))
                if ranges != ((0, PORTS - 1),)
            ]
            self._compared[list_] = sum(1 << i for i, _ in limits)
            of_port = _met_by_port(limits, self._all)
            sets = _at_most(PORT_CLASSES, list(dict.fromkeys(of_port)))
            classes += bytes(map(sets.__getitem__, of_port))
            joined = [0] * PORT_CLASSES
            for one, class_ in sets.items():
                joined[class_] |= one
            met.extend(joined)
        if not any(self._compared[list_] for _, list_ in _PORTS.values()):
            return b""
        return met.tobytes() + bytes(classes)

    # Texts

    def _compile_names(self, keys: _Keys) -> None:
        listed: dict[bytes, Bits] = {}
        compared = Bits()
        for bit, values in self._texts_of("binary_name"):
            exact = _exact(values, Limit.NAME_SIZE)
            if exact is not None:
                compared = _with(compared, Bits(demand=bit))
                _list(listed, exact, Bits(demand=bit))
            elif excluded := _excluded(values, Limit.NAME_SIZE):
                compared = _with(compared, Bits(exclude=bit))
                _list(listed, excluded, Bits(exclude=bit))
        self._add_texts(RuleList.NAME, keys, listed, compared)

    def _compile_paths(self, keys: _Keys, prefix_keys: _Keys) -> None:
        paths: dict[bytes, Bits] = {}
        prefixes: dict[bytes, Bits] = {}
        compared, compared_prefixes = Bits(), Bits()
        for bit, values in self._texts_of("binary_path"):
            exact = _exact(values, Limit.BINARY_PATH_SIZE)
            if exact is not None:
                compared = _with(compared, Bits(demand=bit))
                # Events take the mark of a deleted executable from its path, also if a file is called so.
                _list(paths, [*exact, *(path + DELETED.encode() for path in exact)], Bits(demand=bit))
                continue
            if excluded := [path for path in _excluded(values, Limit.BINARY_PATH_SIZE) if not _may_be_marked(path)]:
                compared = _with(compared, Bits(exclude=bit))
                _list(paths, excluded, Bits(exclude=bit))
            demanded, excluded = _beginnings(values)
            if demanded:
                compared_prefixes = _with(compared_prefixes, Bits(demand=bit))
                _list(prefixes, demanded, Bits(demand=bit))
            if excluded:
                compared_prefixes = _with(compared_prefixes, Bits(exclude=bit))
                _list(prefixes, excluded, Bits(exclude=bit))
        size = Limit.BINARY_PATH_SIZE
        self._add_texts(RuleList.PATH, keys, {path: bits for path, bits in paths.items() if len(path) < size}, compared)
        if prefixes:
            meets = self._compare(RuleList.PREFIX, compared_prefixes)
            for prefix, found in _joined_texts(prefixes):
                prefix_keys.add(PREFIX_KEY.pack(8 * len(prefix), prefix), meets(found))

    def _texts_of(self, attribute: str) -> Iterator[tuple[int, TextSet]]:
        for i, one in enumerate(self._alternatives):
            if attribute in one:
                yield 1 << i, cast("TextSet", one[attribute])

    def _add_texts(self, list_: RuleList, keys: _Keys, listed: dict[bytes, Bits], compared: Bits) -> None:
        if compared != Bits():
            meets = self._compare(list_, compared)
            for text, found in listed.items():
                keys.add(text.ljust(Limit.BINARY_PATH_SIZE, b"\0"), meets(found))


def _all_bits(listed: Iterable[tuple[Ranges, int]]) -> int:
    found = 0
    for _, bits in listed:
        found |= bits
    return found


def _shared(listed: Iterable[tuple[Ranges, int]]) -> list[tuple[Ranges, int]]:
    """Return ranges with the alternatives that list them: the same ones once."""
    shared: dict[object, tuple[Ranges, int]] = {}
    for ranges, bits in listed:
        key = ranges if len(ranges) <= MANY else id(ranges)
        shared[key] = ranges, bits | shared.get(key, (ranges, 0))[1]
    return [*shared.values()]


def _with(one: Bits, other: Bits) -> Bits:
    return Bits(one.demand | other.demand, one.exclude | other.exclude)


def _most_prefixes(ranges: Ranges) -> int:
    """Return how many prefixes ranges take, at most. A network takes one."""
    sizes = ((low, high + 1 - low) for low, high in ranges)
    return sum(1 if not size & (size - 1) and not low % size else 2 * size.bit_length() for low, size in sizes)


Prefix = tuple[int, int, Bits]  # where it begins, how many bits it has, and what it says


def _prefixes(ranges: Ranges, begin: int, bits: int, found: Bits) -> Iterator[Prefix]:
    """Yield ranges as prefixes, in order."""
    for low, high in ranges:
        start, end = low - begin, high - begin + 1
        while start < end:
            size = min(start & -start or 1 << bits, 1 << ((end - start).bit_length() - 1))
            yield start, bits + 1 - size.bit_length(), found
            start += size


def _joined(prefixes: Iterable[Prefix], bits: int) -> Iterator[Prefix]:
    """Yield each prefix once, with what it says itself joined with what all shorter ones say that it is in."""
    around: list[tuple[int, Bits]] = []  # the prefixes that this one is in: where they end, and what they say
    waiting: Prefix | None = None
    for start, length, found in prefixes:
        if waiting is not None and waiting[:2] == (start, length):
            waiting = start, length, _with(waiting[2], found)
            around[-1] = around[-1][0], waiting[2]
            continue
        if waiting is not None:
            yield waiting
        while around and around[-1][0] <= start:
            around.pop()
        joined = _with(around[-1][1], found) if around else found
        waiting = start, length, joined
        around.append((start + (1 << (bits - length)), joined))
    if waiting is not None:
        yield waiting


def _joined_texts(prefixes: dict[bytes, Bits]) -> Iterator[tuple[bytes, Bits]]:
    """As _joined(), of texts."""
    around: list[tuple[bytes, Bits]] = []
    for prefix in sorted(prefixes):
        while around and not prefix.startswith(around[-1][0]):
            around.pop()
        joined = _with(around[-1][1], prefixes[prefix]) if around else prefixes[prefix]
        yield prefix, joined
        around.append((prefix, joined))


def _met_by_port(limits: Iterable[tuple[int, Ranges]], everything: int) -> list[int]:
    """Return what each port meets."""
    changes: dict[int, int] = {}
    met = everything
    for i, ranges in limits:
        met &= ~(1 << i)
        for low, high in ranges:
            changes[low] = changes.get(low, 0) ^ 1 << i
            changes[high + 1] = changes.get(high + 1, 0) ^ 1 << i
    found: list[int] = []
    for at in sorted({*changes, PORTS}):
        found += [met] * (at - len(found))
        met ^= changes.get(at, 0)
    return found[:PORTS]


def _at_most(count: int, sets: list[int]) -> dict[int, int]:
    """Return a class for each set of alternatives; beyond so many classes, sets share the last one."""
    return {one: min(i, count - 1) for i, one in enumerate(sets)}


def _list(listed: dict[bytes, Bits], keys: Iterable[bytes], bits: Bits) -> None:
    for key in keys:
        listed[key] = _with(listed.get(key, Bits()), bits)


def _is_as_read(text: str) -> bool:
    """Return whether a text is the bytes that the kernel has. What is no UTF-8 has backslashes in events."""
    return "\\" not in text


def _may_be_marked(path: bytes) -> bool:
    """Return whether a path ends with a part of the mark of deleted executables, which events take away."""
    return any(path.endswith(DELETED[:size].encode()) for size in range(1, len(DELETED) + 1))


def _exact(values: TextSet, size: int) -> list[bytes] | None:
    """Return the only texts that are accepted; None if there may be others. A text that does not fit meets all."""
    if values.values is None or not all(map(_is_as_read, values.values)):
        return None
    return [encoded for text in values.values if len(encoded := text.encode()) < size]


def _excluded(values: TextSet, size: int) -> list[bytes]:
    """Return texts that are not accepted."""
    texts = [text for test in values.tests if test.kind == "values" and test.negated for text in test.items]
    return [encoded for text in texts if _is_as_read(text) and len(encoded := text.encode()) < size]


def _beginnings(values: TextSet) -> tuple[list[bytes], list[bytes]]:
    """Return how a path must begin (one of these; any, if there are none), and how it must not."""
    demanded: list[list[bytes]] = []
    excluded: list[bytes] = []
    for test in values.tests:
        if test.kind == "prefix" and test.negated:
            fitting = (text.encode() for text in test.items if _is_as_read(text))
            excluded += [text for text in fitting if len(text) <= Limit.PREFIX_SIZE and not _may_be_marked(text)]
        elif not test.negated and (begins := _begins(test)):
            demanded.append(begins)
    return min(demanded, key=len, default=[]), excluded


def _begins(test: Texts) -> list[bytes]:
    """Return how all texts begin that a test accepts; nothing, if they may begin in any way."""
    if test.kind not in ("prefix", "like"):
        return []
    heads = [text.split("*")[0] if test.kind == "like" else text for text in test.items]
    if not all(head and _is_as_read(head) for head in heads):
        return []
    return [head.encode()[: Limit.PREFIX_SIZE] for head in heads]
