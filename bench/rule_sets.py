"""Rules as a site may have them, which want none of the loads' connections: what it costs to reject these."""

from __future__ import annotations

from collections.abc import Iterator

from bench.plan import Plan, cidrs

ON = "ingress: {enabled: true}\negress: {enabled: true}\n"
# Of connections alone, and of processes, too.
OF_CONNECTIONS = (
    'port_dst == {port} AND NOT ip_dst in ["10.{n}.0.0/16", "fd00:{n}::/32"]',
    'ip_dst == "192.{n}.0.0/16" AND NOT port_dst in [80, 443]',
    'direction == "ingress" AND port_src in [{port}, 8000-8099] AND NOT ip_dst == "192.{n}.0.0/16"',
)
OF_PROCESSES = (
    'binary_name in ["curl{n}", "wget{n}"] AND NOT ip_dst == "192.{n}.0.0/16"',
    'binary_prefix == "/opt/{n}/" AND NOT port_dst in [80, {port}]',
    'uid == {port} AND NOT ip_dst == "10.{n}.0.0/16"',
)


def rule_file(count: int, conditions: tuple[str, ...]) -> str:
    """Return a configuration with so many rules."""
    rules = (
        f"- rule: rule {n}\n  when: '{conditions[n % len(conditions)].format(n=n % 256, port=1 + n)}'\n"
        for n in range(count)
    )
    return f"{ON}rules:\n{''.join(rules)}"


def list_file(count: int) -> str:
    """Return a configuration with a rule that has a list of so many networks; not those of the loads."""
    items = "".join(f"  - {cidr}\n" for cidr in cidrs(count + 1) if not cidr.startswith("127."))
    return f"{ON}lists:\n- list: networks\n  items:\n{items}rules:\n- rule: listed\n  when: ip_dst in networks\n"


def files(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the configurations of a plan, each with its name."""
    for count in plan.rules:
        yield f"rules of connections: {count}", rule_file(count, OF_CONNECTIONS)
    for count in plan.rules:
        yield f"rules of processes: {count}", rule_file(count, OF_PROCESSES)
    for count in plan.cidrs:
        yield f"a rule with a list of networks: {count:,}", list_file(count)
