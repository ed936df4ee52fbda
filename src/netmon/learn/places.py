"""The networks and domains that addresses and names are in, and the comparisons that identify a program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from netmon.rules.attributes import ATTRIBUTES

PUBLIC = {4: "0.0.0.0/0", 6: "::/0"}  # all addresses that are in none of NOT_PUBLIC
# Networks that are joined for themselves: a program that connects to the whole internet needs not reach these.
NOT_PUBLIC = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
)
_ROOTS = tuple(map(ip_network, NOT_PUBLIC))
# The networks between such a network, or all public addresses, and an address.
_STEPS = {
    PUBLIC[4]: (16, 24),
    PUBLIC[6]: (32, 48),
    "10.0.0.0/8": (16, 24),
    "100.64.0.0/10": (16, 24),
    "172.16.0.0/12": (16, 24),
    "192.168.0.0/16": (24,),
    "fc00::/7": (48, 64),
}
# How many inner ones an address's network keeps apart, by how many steps it is above addresses.
_NETWORKS_APART = {1: 4, 2: 8, 3: 16}
_NAMES_APART, _DOMAINS_APART = 4, 64
_LABELS_APART = 4  # below a domain; further ones count as one

# Below these everybody can have a name. They are the best known ones: netmon has no list of all public suffixes.
_SHARED = frozenset(
    """
    amazonaws.com cloudfront.net azurewebsites.net azureedge.net windows.net cloudapp.net github.io gitlab.io
    herokuapp.com appspot.com web.app run.app googleusercontent.com fastly.net akamaiedge.net akamai.net edgekey.net
    workers.dev pages.dev vercel.app netlify.app ngrok.io ngrok.app blogspot.com fly.dev onrender.com
    digitaloceanspaces.com myshopify.com r2.dev duckdns.org
    """.split()
)
_SECOND_LEVEL = frozenset(("ac", "co", "com", "edu", "gob", "gov", "go", "ltd", "mil", "ne", "net", "nom", "or", "org"))


def address_limit(depth: int, below: int) -> int | None:
    """Return how many places a network keeps apart, as JoiningTree asks."""
    return _NETWORKS_APART[below] if depth else None


def name_limit(depth: int, _below: int) -> int:
    """Return how many names a domain keeps apart, as JoiningTree asks."""
    return _NAMES_APART if depth else _DOMAINS_APART


@lru_cache(maxsize=4096)
def address_path(packed: bytes) -> tuple[str, ...]:
    """Return the networks that an address is in, the widest first, and the address."""
    address = ip_address(packed)
    root = next((str(net) for net in _ROOTS if address in net), PUBLIC[address.version]).removesuffix("/128")
    networks = (str(ip_network((address, length), strict=False)) for length in _STEPS.get(root, ()))
    return (str(address),) if root == str(address) else (root, *networks, str(address))


def address_of(path: tuple[str, ...]) -> tuple[int, int, str]:
    """Return what sorts an address or network, and its text."""
    net = ip_network(path[-1])
    return net.version, int(net.network_address), path[-1]


def is_loopback(address: bytes) -> bool:
    """Return whether an address is this host itself."""
    return address_path(address)[0] in ("127.0.0.0/8", "::1")


@lru_cache(maxsize=4096)
def name_path(name: str) -> tuple[str, ...]:
    """Return the domains that a name is in: that of its owner, as far as it can be guessed, and its labels."""
    labels = name.split(".")
    size = 3 if len(labels) > 2 and _is_shared(labels) else min(2, len(labels))
    owner, rest = ".".join(labels[-size:]), labels[:-size][::-1]
    tail = rest[_LABELS_APART - 1 :]
    return (owner, *rest[: _LABELS_APART - 1], *([".".join(reversed(tail))] if tail else []))


def _is_shared(labels: list[str]) -> bool:
    last = ".".join(labels[-2:])
    return last in _SHARED or (len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL)


def name_of(path: tuple[str, ...]) -> str:
    """Return the name at a path."""
    return ".".join(reversed(path))


# Where each run has directories of its own.
_TEMPORARY = ("/tmp/", "/var/tmp/")


class Comparison(NamedTuple):
    """A comparison of a rule: `attribute operator "text"`."""

    attribute: str
    operator: str
    text: str


class Program(NamedTuple):
    """What identifies a program.

    Attributes:
        binary: The path of its executable.
        further: What must also be true: the script, and the workload.
    """

    binary: Comparison
    further: tuple[Comparison, ...] = ()


def program_of(process: Mapping[str, Any]) -> Program | None:
    """Return the program of an event's process; None if rules cannot name it: its path is not known whole."""
    path = _value("binary_path", process)
    check = ATTRIBUTES["binary_path"].kind.check
    if path is None or check is None:
        return None
    try:
        check(path)
    except ValueError:
        return None
    script = _value("script", process)
    own = (_lasting("script", script),) if script is not None and "\0" not in script else ()
    return Program(_lasting("binary_path", path), (*own, *_workload_of(process)))


def _lasting(attribute: str, path: str) -> Comparison:
    """Return the comparison with a path; of a file below a directory for temporary files by its name alone."""
    top = next((top for top in _TEMPORARY if path.startswith(top)), None)
    directory, _, name = path.rpartition("/")
    if top is None or len(directory) < len(top) or "*" in name or not name:
        return Comparison(attribute, "==", path)
    return Comparison(attribute, "like", f"{top}**/{name}")


def _value(name: str, process: Mapping[str, Any]) -> Any:
    get = ATTRIBUTES[name].of_process
    assert get is not None
    return get(process, None)


def _workload_of(process: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Return what names a workload for longer than a start: no pod, no container's id, no session."""
    container = _value("container", process)
    if container is not None:
        namespace = _value("namespace", process)
        own = (Comparison("namespace", "==", namespace),) if namespace is not None else ()
        return (*own, Comparison("container", "==", container))
    if process.get("container_id"):
        return (Comparison("container_id", "like", "*"),)
    unit = _value("unit", process)
    return (_unit(unit),) if unit is not None else ()


_TRANSIENT = re.compile(r"run-[a-z]?[0-9a-f-]+\.service")


def _unit(unit: str) -> Comparison:
    """Return the comparison with a unit, and with all that differ from it by what is new at each start."""
    if unit.endswith(".scope"):
        return Comparison("unit", "like", "*.scope")
    if _TRANSIENT.fullmatch(unit):
        return Comparison("unit", "like", "run-*.service")
    template, at, _ = unit.partition("@")
    return Comparison("unit", "like", f"{template}@*.service") if at else Comparison("unit", "==", unit)
