"""What a configuration means, in words: one sentence for each filter, rule and output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from netmon.errors import shown
from netmon.report import OPTIONS

if TYPE_CHECKING:
    from netmon.config import Config
    from netmon.config.models import Direction

LISTED = 4  # values of a list
WHO = {"ingress": "Connections that this host accepts", "egress": "Connections that this host opens"}
FAMILIES = {"ipv4_filter": "IPv4", "ipv6_filter": "IPv6"}
ENDS = {"src_ip": "this host's address", "dst_ip": "the peer's address"}
PORTS = {"src_port": "this host's port", "dst_port": "the peer's port"}
BINARY = {
    "name": "the executable's file name or what the program was called by",
    "comm": "what the program was called by",
    "prefix": "the beginning of the executable's path",
    "path": "the executable's path",
}


def sentences_of(config: Config) -> Iterator[str]:
    """Yield sentences."""
    for name, direction in (("ingress", config.ingress), ("egress", config.egress)):
        yield from _direction(name, direction)
    yield from _netns_and_names(config)
    if (filter_ := config.process_filter) is not None:
        lists = [f"its {key} is {_any_of(getattr(filter_, key))}" for key in ("uid", "euid", "auid", "gid")
                 if getattr(filter_, key)]  # fmt: skip
        if filter_.binary is not None:
            ways = [f"{text} is {_any_of(getattr(filter_.binary, key))}" for key, text in BINARY.items()
                    if getattr(filter_.binary, key)]  # fmt: skip
            lists.append(" or ".join(ways))
        for key, text in (("cgroup", "it is in the cgroup"), ("container_id", "it is in the container")):
            if values := getattr(filter_, key):
                lists.append(f"{text} {_any_of(values)}")
        followed = [f"it is process {_any_of(filter_.pid)}"] if filter_.pid else []
        followed += [f"it is process {_any_of(filter_.descendants)} or a descendant"] if filter_.descendants else []
        lists += [" or ".join(followed)] if followed else []
        yield f"Of processes, {_unless(filter_.deny_list)} {', and '.join(lists)}."
    yield from _rules(config)
    yield from _report(config)
    yield from _outputs(config)


def _direction(name: str, direction: Direction) -> Iterator[str]:
    if not direction.enabled:
        yield f"{WHO[name]} are not watched."
        return
    filters = list(_ip_filters(direction))
    port = direction.port_filter
    if port is not None:
        ends = [f"{text} is {_any_of(getattr(port, key))}" for key, text in PORTS.items() if getattr(port, key)]
        filters.append(f"{_unless(port.deny_list)} {_joined(ends, port.match)}")
    yield f"{WHO[name]} are reported{': ' + '; and '.join(filters) if filters else ', all of them'}."
    if bool(direction.ipv4_filter) != bool(direction.ipv6_filter):
        free = "IPv6" if direction.ipv4_filter else "IPv4"
        yield f"  {free} has no filter there: all of its addresses pass."


def _ip_filters(direction: Direction) -> Iterator[str]:
    for key, family in FAMILIES.items():
        if (filter_ := getattr(direction, key)) is not None:
            ends = [
                f"{text} is in {_any_of(getattr(filter_, end))}" for end, text in ENDS.items() if getattr(filter_, end)
            ]
            yield f"of {family}, {_unless(filter_.deny_list)} {_joined(ends, filter_.match)}"


def _netns_and_names(config: Config) -> Iterator[str]:
    if (netns := config.netns_filter) is not None:
        yield f"Of network namespaces, {_unless(netns.deny_list)} it is {_any_of(netns.netns)}."
    if (names := config.name_filter) is not None:
        yield f"Of outgoing connections, {_unless(names.deny_list)} DNS has told the name {_any_of(names.domain)}."


def _rules(config: Config) -> Iterator[str]:
    for where, rules in (
        ("", config.rules),
        (" of ingress", config.ingress.rules),
        (" of egress", config.egress.rules),
    ):
        for rule in rules or ():
            when = " AND ".join(f"({text})" for text in (rule.scope, rule.when, rule.event) if text)
            yield f"Rule {shown(rule.rule)}{where}, {rule.severity}, {rule.action}: {when or 'every event'}."
    if config.has_rules:
        what = "is not reported" if config.unmatched == "drop" else "is reported, too"
        yield f"What no rule matches {what}."


def _report(config: Config) -> Iterator[str]:
    report = config.report
    yield from (f"With {name}: {option.help}." for name, option in OPTIONS.items() if getattr(report, name))
    if report.ancestors:
        yield f"With ancestors: {report.ancestors} of each process, as far as it has as many."
    if report.progress:
        yield f"With progress: each {report.progress:g} s, what open connections have carried."
    if report.events is not None:
        yield f"Of the events, only {', '.join(report.events)}."


def _outputs(config: Config) -> Iterator[str]:
    run = config.run
    if run is None or run.outputs is None:
        yield "Events go to standard output."
        return
    for output in run.outputs:
        values = {
            key: value for key, value in output.model_dump(exclude_none=True).items() if key not in ("type", "path")
        }
        settings = ", ".join(f"{key} {shown(_text(value))}" for key, value in values.items())
        place = f" {shown(str(output.path))}" if output.path is not None else ""
        yield f"Events go to {output.type}{place}{f' ({settings})' if settings else ''}."


def _text(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _unless(deny: bool) -> str:
    return "all but those where" if deny else "those where"


def _joined(parts: Sequence[str], match: str) -> str:
    return (" and " if match == "all" else " or ").join(parts)


def _any_of(values: Sequence[object] | None) -> str:
    """Return a list's first values, and how many more there are."""
    first = [shown(str(value)) for value in (values or ())[:LISTED]]
    more = len(values or ()) - len(first)
    if more:
        return f"{', '.join(first)} or one of {more:,} more"
    return first[0] if len(first) == 1 else f"{', '.join(first[:-1])} or {first[-1]}"
