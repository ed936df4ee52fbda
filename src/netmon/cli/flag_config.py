"""The configuration that flags describe, alone or on top of a file's.

A flag of a filter replaces that filter of the file: those of addresses in both families, those of ports, of network
namespaces and of processes. A flag of a report option replaces the option.
"""

from __future__ import annotations

import re
from typing import Any

from netmon.cli.flag_names import (
    ADDRESS_LISTS,
    BINARY_LISTS,
    COMMAND_LINE,
    PORT_LISTS,
    PROCESS_LISTS,
    FlagError,
    flag_error,
    flag_of,
)
from netmon.cli.names import with_link_targets
from netmon.config.checked import CheckedConfig, CheckedDirection, check_document
from netmon.config.checks import check_event
from netmon.config.document import document_of
from netmon.config.netns import inode_of
from netmon.errors import ConfigError, Problem, shorten
from netmon.report import NAMES_NEED_OPENINGS, OPTIONS, Report

Values = dict[str, Any]

FAMILIES = {"ipv4_filter": "0.0.0.0/0", "ipv6_filter": "::/0"}
# What each deny flag inverts, and how an error names that.
INVERTED = {
    "deny_ip": (ADDRESS_LISTS, "--local or --peer"),
    "deny_port": (PORT_LISTS, "--port, --local-port or --peer-port"),
    "deny_netns": (("netns",), "--netns"),
    "deny_domain": (("domain",), "--domain"),
    "deny_process": (
        PROCESS_LISTS,
        "--uid, --euid, --auid, --gid, --name, --comm, --prefix, --path, --cgroup, --container-id, --pid or --tree",
    ),
}


EVERYTHING = CheckedConfig(ingress=CheckedDirection(enabled=True), egress=CheckedDirection(enabled=True))


class FlagConfig:
    """What flags say about the configuration."""

    def __init__(self, values: Values) -> None:
        """Check the flags by themselves, and look up the names in them.

        Args:
            values: The values of the flags by their names, with `_` in place of `-`.

        Raises:
            FlagError: The flags have problems.
        """
        defaults: Values = {"failures": False, "events": [], "ipv4": False, "ipv6": False}
        self._values = {**defaults, "domain": [], "deny_domain": False, **values}
        _refuse_lonely_denials(self._values)
        self._filters = _read_filters(self._values)

    def over(self, base: CheckedConfig, aggregate: float | None = None) -> CheckedConfig:
        """Return the configuration that the flags describe on top of another one.

        Args:
            base: The file's configuration; EVERYTHING without a file.
            aggregate: What the file sets this flag to.

        Raises:
            FlagError: The flags do not go with it.
        """
        values, filters = self._values, self._filters
        if aggregate is not None:
            values = {**values, "aggregate": aggregate}
        enabled = _enabled_directions(values, base)
        changes: Values = {"report": _report(values, base.report, enabled, over_file=base is not EVERYTHING)}
        for name in enabled:
            part = getattr(filters, name)
            keys = ["enabled"]
            keys += FAMILIES if any(values[key] for key in (*ADDRESS_LISTS, "ipv4", "ipv6")) else ()
            keys += ["port_filter"] if part.port_filter else []
            changed = {**{key: getattr(part, key) for key in keys}, "enabled": enabled[name]}
            changes[name] = getattr(base, name)._replace(**changed)
        for key in ("netns_filter", "process_filter", "name_filter"):
            if (filter_ := getattr(filters, key)) is not None:
                changes[key] = filter_
        if not (changes["report"].names or changes["report"].sni) and (changes.get("name_filter") or base.name_filter):
            needs = "--domain" if "name_filter" in changes else "the file's name_filter"
            raise flag_error("--no-names", f"leaves out what {needs} needs; leave one or the other out")
        return base._replace(**changes)


def _refuse_lonely_denials(values: Values) -> None:
    for name, (lists, needed) in INVERTED.items():
        if values[name] and not any(values[key] for key in lists):
            raise flag_error(name, f"inverts {needed}; add one, or leave it out")


def _enabled_directions(values: Values, config: CheckedConfig) -> dict[str, bool]:
    """Return for each direction's name whether it is watched."""
    if values["failures"]:
        if values["ingress"] and not values["egress"]:
            raise flag_error("failures", "needs --egress; add it, or leave --ingress out")
        return {"ingress": False, "egress": True}
    if values["ingress"] == values["egress"]:
        both = values["ingress"]
        return {name: both or getattr(config, name).enabled for name in ("ingress", "egress")}
    return {name: values[name] for name in ("ingress", "egress")}


def _read_filters(values: Values) -> CheckedConfig:
    """Return a configuration with the filters alone, in both directions, with the same checks as for YAML."""
    direction: Values = {"enabled": True, **_address_filters(values), **_port_filter(values)}
    data: Values = {"ingress": direction, "egress": direction}
    if values["netns"]:
        data["netns_filter"] = {"netns": values["netns"], "deny_list": values["deny_netns"]}
    if values["domain"]:
        data["name_filter"] = {"domain": values["domain"], "deny_list": values["deny_domain"]}
        data["report"] = {"names": True}  # which over() looks at once more
    if process := _process_filter(values):
        data["process_filter"] = {**process, "deny_list": values["deny_process"]}
    try:
        return check_document(document_of(data, COMMAND_LINE), inode_of)
    except ConfigError as error:
        spelled = values.get("spelled", {})
        raise FlagError([_as_typed(problem, spelled) for problem in error.problems]) from None


# Keys of the configuration that other flags than the one of the same name set, too.
SET_BY = {
    "src_port": ("src_port", "port"),
    "dst_port": ("dst_port", "port"),
    "comm": ("name", "comm"),
    "descendants": ("tree",),
}


def _as_typed(problem: Problem, spelled: dict[str, str]) -> Problem:
    """Return a problem with the flag as the user has typed it, in place of the key."""
    keys = [part for part in problem.location if isinstance(part, str)]
    flags = [spelled[name] for name in SET_BY.get(keys[-1], (keys[-1],)) if name in spelled] if keys else []
    # What a key is for in a file, the kind of the address is for a flag.
    message = re.sub(r"put (\S+) in ipv4_filter$", r"write \1", problem.message)
    return problem._replace(location=(flags[0],), message=message) if flags else problem


def _address_filters(values: Values) -> Values:
    """Return the filters of both families. An address with a colon is IPv6.

    A connection matches if each flag that is given lists it. So nothing matches in a family for which one of them has
    no address: such a family is left out, or with --deny-ip reported as a whole.
    """
    given = [key for key in ADDRESS_LISTS if values[key]]
    filters: Values = {}
    for family, everything in FAMILIES.items():
        is_ipv6 = family == "ipv6_filter"
        lists = {key: [item for item in values[key] if (":" in item) == is_ipv6] for key in given}
        if values["ipv4" if is_ipv6 else "ipv6"] and not values["ipv6" if is_ipv6 else "ipv4"]:
            filters[family] = {"dst_ip": [everything], "deny_list": True}
            _refuse_left_out(values, lists, is_ipv6)
        elif given and all(lists.values()):
            filters[family] = {**lists, "match": "all", "deny_list": values["deny_ip"]}
        elif given and not values["deny_ip"]:
            filters[family] = {"dst_ip": [everything], "deny_list": True}
    if given and not any("match" in filter_ for filter_ in filters.values()):
        flags = " and ".join(_spelling(values, key) for key in given)
        raise flag_error(_spelling(values, given[0]), f"no connection matches {flags}: one is IPv4, the other IPv6")
    return filters


def _refuse_left_out(values: Values, lists: dict[str, list[str]], is_ipv6: bool) -> None:
    for key, addresses in lists.items():
        if addresses:
            family, flag = ("IPv6", "-4") if is_ipv6 else ("IPv4", "-6")
            message = f"{addresses[0]!r} is {family}, which {flag} leaves out; leave one or the other out"
            raise flag_error(_spelling(values, key), message)


def _spelling(values: Values, key: str) -> str:
    return str(values.get("spelled", {}).get(key, flag_of(key)))


def _port_filter(values: Values) -> Values:
    lists = {key: values[key] for key in ("src_port", "dst_port") if values[key]}
    if not values["port"]:
        return {"port_filter": {**lists, "match": "all", "deny_list": values["deny_port"]}} if lists else {}
    if lists:
        other = _spelling(values, next(iter(lists)))
        raise flag_error("port", f"is of either end, so it cannot be combined with {other}; say of each whose it is")
    either = {"src_port": values["port"], "dst_port": values["port"], "deny_list": values["deny_port"]}
    return {"port_filter": either}


def _process_filter(values: Values) -> Values:
    keys = ("uid", "euid", "auid", "gid", "cgroup", "container_id", "pid")
    process: Values = {key: values[key] for key in keys if values[key]}
    if values["tree"]:
        process["descendants"] = values["tree"]
    binary: Values = {key: values[key] for key in BINARY_LISTS if values[key]}
    if names := values["name"]:
        binary["name"] = with_link_targets(names)
        binary["comm"] = [*names, *values["comm"]]
    if binary:
        process["binary"] = binary
    return process


def _report(values: Values, base: Report, enabled: dict[str, bool], *, over_file: bool) -> Report:
    """Return what is reported.

    Args:
        values: Those of the flags.
        base: What is reported without them.
        enabled: For each direction's name, whether it is watched.
        over_file: Whether a file says what base is.
    """
    options = {name: values.get(name) for name in OPTIONS}
    if values["domain"] and options["names"] is None:
        options["names"] = True
    report = base._replace(**{name: value for name, value in options.items() if value is not None})
    numbers = {name: values.get(name) for name in ("ancestors", "progress")}
    report = report._replace(**{name: value for name, value in numbers.items() if value is not None})
    events = tuple(values["events"])
    if values["failures"]:
        if events:
            raise flag_error("failures", "cannot be combined with --events; leave one or the other out")
        if values.get("aggregate") is not None:
            raise flag_error("failures", "cannot be combined with --aggregate, which counts them; leave one out")
        return report._replace(outcome=True, events=("fail",))
    if events:
        report = report._replace(events=tuple(map(_checked_event, events)))
    for name, needed in report.without_direction(enabled).items():
        (other,) = {*enabled} - {needed}
        if options[name]:
            raise flag_error(name, f"needs --{needed}; add it, or leave --{other} out")
        raise flag_error(other, f"leaves out what the file's report.{name} needs; add --{needed} or --no-{name}")
    if report.names_nothing:
        raise flag_error("events", NAMES_NEED_OPENINGS)
    for event, needed in report.impossible_events(enabled).items():
        key = f"{needed}.enabled" if needed in enabled else f"report.{needed}"
        setting = f"{flag_of(needed)}, or {key} in the file" if over_file else flag_of(needed)
        raise flag_error("events", f"{event} needs {setting}; add it, or leave {event} out")
    return report


def _checked_event(event: str) -> str:
    try:
        return check_event(event)
    except ValueError as error:
        raise flag_error("events", f"{shorten(event)} {error}") from None
