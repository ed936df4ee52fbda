"""Drafts of what others enforce, from rules that say what is expected: systemd's address lists, Kubernetes' policies.

They know less than rules: neither names nor programs, and systemd no ports. What a draft cannot say is a comment in it.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import NamedTuple

from netmon.config.yaml_writer import quoted
from netmon.errors import shown
from netmon.rules.analysis import Alternative, TooManyError, write_out
from netmon.rules.load import LoadedRule
from netmon.rules.sets import IPV6_BEGIN, Ranges, TextSet

DRAFTS = ("systemd", "networkpolicy")
EXPRESSIBLE = (
    "binary_path",
    "script",
    "direction",
    "unit",
    "namespace",
    "container",
    "ip_dst",
    "port_dst",
    "port_src",
    "domain",
)
LOOPBACK = ("127.", "::1")


class Allowed(NamedTuple):
    """What is expected of a workload.

    Attributes:
        program: The paths of its programs, for comments.
        direction: `ingress` or `egress`.
        networks: The peers' networks; None: any.
        ports: The server's ports, as ranges; none: any.
        names: The peers' names, which are none of the networks.
    """

    program: str
    direction: str
    networks: tuple[str, ...] | None
    ports: Ranges
    names: tuple[str, ...]


class Expected(NamedTuple):
    """What rules expect.

    Attributes:
        units: By the unit.
        containers: By namespace and name.
        others: What has neither, or cannot be said: lines.
    """

    units: dict[str, list[Allowed]]
    containers: dict[tuple[str, str], list[Allowed]]
    others: list[str]


def expected_of(loaded: Iterable[LoadedRule]) -> Expected:
    """Return what rules expect: those that leave out what they match."""
    found = Expected(defaultdict(list), defaultdict(list), [])
    for one in loaded:
        rule = one.rule
        if rule.action == "drop" and rule.condition is not None:
            try:
                alternatives = write_out(rule.condition).found
            except TooManyError:
                found.others.append(f"the rule {shown(rule.name)}: it has too many alternatives")
                continue
            for alternative in alternatives:
                _add(found, rule.name, alternative)
        elif rule.action == "drop":
            found.others.append(f"the rule {shown(rule.name)}: it expects everything")
    return found


def _add(found: Expected, name: str, alternative: Alternative) -> None:
    unknown = sorted(alternative.keys() - {*EXPRESSIBLE})
    if unknown:
        found.others.append(f"the rule {shown(name)}: it compares {', '.join(unknown)}")
        return
    program = ", ".join(map(shown, _texts(alternative, "binary_path"))) or "any program"
    networks = tuple(_networks(alternative["ip_dst"])) if "ip_dst" in alternative else None
    names = tuple(_texts(alternative, "domain"))
    for direction in _texts(alternative, "direction") or ["ingress", "egress"]:
        ports = alternative.get("port_dst" if direction == "egress" else "port_src", ())
        assert not isinstance(ports, TextSet)
        allowed = Allowed(program, direction, networks, ports, names)
        containers = _texts(alternative, "container")
        units = _texts(alternative, "unit")
        if containers:
            namespace = (*_texts(alternative, "namespace"), "")[0]
            for container in containers:
                found.containers[namespace, container].append(allowed)
        for unit in units if not containers else ():
            found.units[unit].append(allowed)
        if not containers and not units:
            found.others.append(f"{program} ({direction}): it has no workload")


def _texts(alternative: Alternative, key: str) -> list[str]:
    """Return the texts and patterns that a value can be."""
    values = alternative.get(key)
    if not isinstance(values, TextSet):
        return []
    if values.values is not None:
        return sorted(values.values)
    return sorted({item for test in values.tests if not test.negated for item in test.items})


def _networks(ranges: object) -> Iterator[str]:
    """Yield the CIDRs of addresses."""
    assert isinstance(ranges, tuple)
    for low, high in ranges:
        if low < IPV6_BEGIN:
            begin, end = IPv4Address(low), IPv4Address(min(high, IPV6_BEGIN - 1))
            yield from (str(net).removesuffix("/32") for net in summarize_address_range(begin, end))
        if high >= IPV6_BEGIN:
            first, last = IPv6Address(max(low, IPV6_BEGIN) - IPV6_BEGIN), IPv6Address(high - IPV6_BEGIN)
            yield from (str(net).removesuffix("/128") for net in summarize_address_range(first, last))


def draft_of(kind: str, loaded: Iterable[LoadedRule]) -> str:
    """Return a draft. kind: of DRAFTS."""
    expected = expected_of(loaded)
    lines = [*(_systemd(expected) if kind == "systemd" else _policies(expected))]
    if expected.others:
        lines += ["# Not in this draft:", *sorted({f"#   {_comment(text)}" for text in expected.others})]
    return "\n".join([*lines, ""])


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _sorted_networks(all_allowed: Iterable[Allowed]) -> list[str]:
    return list(dict.fromkeys(net for one in all_allowed for net in one.networks or ()))


_SYSTEMD = """\
# Drafts for `systemctl edit UNIT`. They bind all programs of a unit, both directions and all protocols alike, and know
# neither ports nor names. netmon sees TCP alone: allow what the unit needs of UDP, such as its name servers.\
"""


def _systemd(expected: Expected) -> Iterator[str]:
    yield _SYSTEMD
    for unit, allowed in sorted(expected.units.items()):
        yield ""
        template = unit.replace("@*.", "@.")
        if "*" in template:
            yield f"# {_comment(unit)}: units of sessions and of single runs have no settings of their own"
            continue
        yield f"# /etc/systemd/system/{_comment(template)}.d/netmon.conf"
        yield "[Service]"
        names = sorted({name for one in allowed for name in one.names})
        if any(one.networks is None and not one.names for one in allowed):
            yield "# Anybody may connect to it, or be connected to: nothing to deny."
            continue
        if names:
            yield f"# Not before the addresses of these names are allowed: {_comment(', '.join(names))}"
        yield f"{'#' if names else ''}IPAddressDeny=any"
        yield "IPAddressAllow=localhost"
        for net in _sorted_networks(allowed):
            if not net.startswith(LOOPBACK):
                yield f"IPAddressAllow={net}"


_POLICY = """\
# Drafts of NetworkPolicies. They know neither names nor programs, and select pods by labels, which netmon does not
# know: podSelector is a guess. The addresses of pods change: where a peer is a pod, say so by its labels.\
"""


def _policies(expected: Expected) -> Iterator[str]:
    yield _POLICY
    for (namespace, container), allowed in sorted(expected.containers.items()):
        yield "---"
        yield "apiVersion: networking.k8s.io/v1"
        yield "kind: NetworkPolicy"
        name = f"netmon-{container}".lower().replace("_", "-")
        yield f"metadata: {{name: {quoted(name)}{_member('namespace', namespace)}}}"
        yield "spec:"
        yield f"  podSelector: {{matchLabels: {{app.kubernetes.io/name: {quoted(container)}}}}}"
        directions = sorted({one.direction for one in allowed})
        yield f"  policyTypes: [{', '.join(name.capitalize() for name in directions)}]"
        for direction in directions:
            yield f"  {direction}:"
            if direction == "egress":
                yield "  - ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]  # its name servers"
            for one in allowed:
                if one.direction == direction:
                    yield from _policy_rule(one)


def _member(key: str, value: str) -> str:
    return f", {key}: {quoted(value)}" if value else ""


def _policy_rule(one: Allowed) -> Iterator[str]:
    networks = [net for net in one.networks or () if not net.startswith(LOOPBACK)]  # no policy is about these
    if one.names:
        yield f"  # not expressible: {_comment(', '.join(one.names))}{_ports_comment(one.ports)}"
        return
    if one.networks is not None and not networks:
        return
    side = "to" if one.direction == "egress" else "from"
    parts = [f"{side}: [{', '.join(_block(net) for net in networks)}]"] if networks else []
    if one.ports:
        parts.append(f"ports: [{', '.join(map(_port, one.ports))}]")
    first, *others = parts or ["{}"]
    yield f"  - {first}"
    yield from (f"    {part}" for part in others)


def _block(net: str) -> str:
    cidr = net if "/" in net else f"{net}/{128 if ':' in net else 32}"
    return f"{{ipBlock: {{cidr: {quoted(cidr)}}}}}"


def _port(ports: Sequence[int]) -> str:
    low, high = ports
    return f"{{protocol: TCP, port: {max(low, 1)}{f', endPort: {high}' if high > low else ''}}}"


def _ports_comment(ports: Ranges) -> str:
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in ports]
    return f" port {', '.join(texts)}" if texts else ""
