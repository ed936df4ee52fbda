"""The flags of `netmon run`, and the configuration that they describe."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from netmon.errors import ConfigError, Problem
from netmon.limits import DEFAULT_BATCH_DELAY, DEFAULT_LINE_LIMIT, DEFAULT_RING_SIZE, MAX_LINE_LIMIT, MINIMUM_KERNEL
from netmon.report import EVENTS, EVENTS_HELP, OPTIONS, Report

if TYPE_CHECKING:
    from netmon.config.checked import CheckedConfig

PROCESS_LISTS = ("uid", "euid", "auid", "name", "prefix", "path", "cgroup", "container_id", "pid", "tree")
# The flags that describe a configuration, in place of a file.
FLAGS = (
    *("ingress", "egress", *OPTIONS, "events"),
    *("src_ip", "dst_ip", "deny_ip", "src_port", "dst_port", "deny_port", "netns", "deny_netns"),
    *PROCESS_LISTS,
    "deny_process",
)

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def duration(text: str) -> float:
    """Return the seconds of a duration like 10s, 500ms, 5m or 1h. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write it like 10s, 500ms, 5m or 1h")
    return float(match[1]) * SECONDS[match[2]]


def size(text: str) -> int:
    """Return the bytes of a size like 65536, 64K, 4M or 1G. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d{1,12})([kmg]?)", text.lower(), re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it like 65536, 64K or 4M")
    return int(match[1]) * BYTES[match[2]]


def add_run_flags(run: argparse.ArgumentParser) -> None:
    """Add `netmon run`'s flags to its parser."""
    run.add_argument("--config", metavar="FILE", help="read what to report from a YAML file (docs/config.md)")
    run.add_argument(
        "--aggregate",
        type=duration,
        metavar="PERIOD",
        help="each PERIOD (10s, 5m), report aggregates by process, peer, port and direction, not single connections",
    )
    _add_monitor_flags(run)
    _add_output_flags(run)
    _add_report_flags(run)
    _add_connection_flags(run)
    _add_process_flags(run)


def add_exec_flags(parser: argparse.ArgumentParser) -> None:
    """Add `netmon exec`'s flags to its parser: those of `netmon run` but what would choose other processes."""
    parser.add_argument("--output", metavar="FILE", help="write events to this file, not to standard error")
    parser.add_argument(
        "--report",
        metavar="FORM",
        help="in place of events, report at the end who connected where, when, how often, what failed and how many "
        "bytes were carried: table, json or markdown",
    )
    parser.add_argument("--wait-all", action="store_true", help="wait for the command's descendants, too")
    parser.add_argument("--root", action="store_true", help="under sudo: run the command as root")
    _add_monitor_flags(parser)
    _add_output_flags(parser)
    _add_report_flags(parser)
    _add_connection_flags(parser)
    parser.set_defaults(config=None, aggregate=None, deny_process=False, **{name: [] for name in PROCESS_LISTS})


def _add_monitor_flags(run: argparse.ArgumentParser) -> None:
    """Add the flags that say how events are read, and with which rights."""
    run.add_argument(
        "--any-kernel",
        action="store_true",
        help=f"also try kernels older than {MINIMUM_KERNEL} (or set NETMON_ANY_KERNEL=1)",
    )
    run.add_argument(
        "--no-lost-events", dest="lost_events", action="store_false", help="leave LostEvents out of the output"
    )
    run.add_argument(
        "--ring-size",
        type=size,
        metavar="SIZE",
        help=f"size of the buffer between kernel and reader, a power of two (default: {DEFAULT_RING_SIZE >> 20}M)",
    )
    run.add_argument(
        "--batch-delay",
        type=duration,
        metavar="TIME",
        help="how long the first event of a batch waits for further events "
        f"(default: {DEFAULT_BATCH_DELAY * 1000:.0f}ms)",
    )
    run.add_argument(
        "--line-limit",
        type=size,
        metavar="SIZE",
        help="how long a line may be: the texts of processes are cut to it, and the event says so "
        f"(default: {DEFAULT_LINE_LIMIT >> 10}K; at most {MAX_LINE_LIMIT >> 10}K)",
    )
    run.add_argument("--user", metavar="USER", help="become this user, a name or a number, once attached")
    run.add_argument(
        "--no-confine",
        dest="confine",
        action="store_false",
        help="keep all rights after the start, for debugging (docs/operations.md)",
    )


def _add_report_flags(run: argparse.ArgumentParser) -> None:
    report = run.add_argument_group("report options", "what to report beyond the plain events")
    for name, option in OPTIONS.items():
        report.add_argument(
            _flag(name),
            action="store_true",
            help=option.help + ("" if option.with_aggregate else " (not with --aggregate)"),
        )
    report.add_argument(
        "--events",
        action="append",
        default=[],
        metavar="LIST",
        help=f"{EVENTS_HELP}: some of {', '.join(EVENTS)} (not with --aggregate)",
    )


def _add_connection_flags(run: argparse.ArgumentParser) -> None:
    direction = run.add_argument_group("directions", "both are reported if neither flag is given")
    direction.add_argument("--ingress", action="store_true", help="connections that processes on this host accept")
    direction.add_argument("--egress", action="store_true", help="connections that processes on this host open")
    address = run.add_argument_group(
        "addresses",
        "can be repeated; src is this host's end, dst the peer's; a connection matches if either end is listed; "
        "IPv4 and IPv6 are filtered separately: a family without an address is not filtered",
    )
    address.add_argument("--src-ip", action="append", default=[], metavar="CIDR", help="this host's address")
    address.add_argument("--dst-ip", action="append", default=[], metavar="CIDR", help="the peer's address")
    address.add_argument("--deny-ip", action="store_true", help="report connections that do not match")
    port = run.add_argument_group("ports", "can be repeated; a connection matches if either end is listed")
    port.add_argument(
        "--src-port", action="append", default=[], metavar="PORT", help="this host's port, or a range like 8000-8999"
    )
    port.add_argument("--dst-port", action="append", default=[], metavar="PORT", help="the peer's port, or a range")
    port.add_argument("--deny-port", action="store_true", help="report connections that do not match")
    netns = run.add_argument_group("network namespaces", "can be repeated")
    netns.add_argument(
        "--netns",
        action="append",
        default=[],
        help="the network namespace of the socket: an inode number, or a path like /run/netns/NAME",
    )
    netns.add_argument("--deny-netns", action="store_true", help="report connections that do not match")


def _add_process_flags(run: argparse.ArgumentParser) -> None:
    process = run.add_argument_group(
        "processes",
        "can be repeated; a process matches if it has one of the uids, one of the euids, one of the auids, one of the "
        "names, prefixes or paths, one of the cgroups, and one of the container ids that are given",
    )
    for name, kind in (("uid", "real"), ("euid", "effective"), ("auid", "audit (login)")):
        process.add_argument(f"--{name}", action="append", type=int, default=[], metavar="ID", help=f"{kind} user id")
    process.add_argument("--name", action="append", default=[], help="file name of the executable")
    process.add_argument("--prefix", action="append", default=[], help="leading part of the executable's path")
    process.add_argument("--path", action="append", default=[], help="full path of the executable")
    process.add_argument("--cgroup", action="append", default=[], metavar="PATH", help="its cgroup, or one above it")
    process.add_argument(
        "--container-id", action="append", default=[], metavar="ID", help="all 64 digits, or at least the first 12"
    )
    process.add_argument("--pid", action="append", type=int, default=[], metavar="PID", help="id of a running process")
    process.add_argument(
        "--tree",
        action="append",
        type=int,
        default=[],
        metavar="PID",
        help="a running process with all that it has started and will start; a process matches if it is one of these, "
        "or has one of the --pid",
    )
    process.add_argument("--deny-process", action="store_true", help="report processes that do not match")


def _add_output_flags(run: argparse.ArgumentParser) -> None:
    """Add the flags that say how events are written."""
    output = run.add_argument_group(
        "output",
        "on a terminal a line a connection, with --outcome and --statistics; else JSON, with the events that the flags "
        "ask for (docs/output.md)",
    )
    output.add_argument("--format", metavar="FORMAT", help="line, json, table or template")
    output.add_argument(
        "--fields",
        metavar="PATHS",
        help="the columns of a table or the keys of JSON, by their paths in the JSON: process.pid,network_event.daddr",
    )
    output.add_argument(
        "--template", metavar="TEXT", help="a line for each event, like '{process.pid} {network_event.daddr}'"
    )
    output.add_argument("--each", action="store_true", help="lines: one for each event, not for each connection")
    output.add_argument(
        "--no-color", dest="color", action="store_false", help="no colours (or set NO_COLOR=1) on a terminal"
    )


class FlagError(ConfigError):
    """Problems of flags: str() renders each by its flag, `--flag: value message`."""

    def __str__(self) -> str:
        # The flags of addresses and ports set the keys of both directions: one mistake is found twice.
        return "\n".join(dict.fromkeys(map(_render, self.problems)))


def _render(problem: Problem) -> str:
    keys = [part for part in problem.location if isinstance(part, str)]
    return f"{_flag(keys[-1])}: {problem.reason}" if keys else problem.reason


def _flag(key: str) -> str:
    """Return the flag that sets a key of the configuration."""
    key = {"descendants": "tree"}.get(key, key)
    return f"--{key.replace('_', '-')}"


def flag_error(key: str, message: str) -> FlagError:
    """Return an error about one flag. key: the flag without dashes before it, and with `_` in place of `-`."""
    return FlagError([Problem("command line", None, (key,), None, message)])


def config_of(options: argparse.Namespace) -> CheckedConfig | None:
    """Return the configuration that flags of `netmon run` describe.

    Args:
        options: The parsed flags.

    Returns:
        The configuration; None if it is in a file, and without any, which reports everything.

    Raises:
        ConfigError: The flags have problems.
    """
    flags = [name for name in FLAGS if getattr(options, name)]
    if options.config is None:
        return _config_from_flags(vars(options)) if flags else None
    if flags:
        raise flag_error(flags[0], "cannot be combined with --config; write it into the configuration file")
    return None


def _config_from_flags(options: dict[str, Any]) -> CheckedConfig:
    """Return the configuration that flags describe, with the same checks as for YAML."""
    from netmon.config.checked import check_document  # a start without such flags needs none of this
    from netmon.config.document import document_of
    from netmon.config.netns import inode_of

    filters = {family: part for family in ("ipv4_filter", "ipv6_filter") if (part := _ip_filter(options, family))}
    ports = {key: list(map(_number, options[key])) for key in ("src_port", "dst_port") if options[key]}
    direction: dict[str, Any] = {"enabled": True, **filters}
    if ports:
        direction["port_filter"] = {**ports, "deny_list": options["deny_port"]}
    both = options["ingress"] == options["egress"]
    enabled = {name: both or options[name] for name in ("ingress", "egress")}
    config: dict[str, Any] = {name: direction for name in enabled if enabled[name]}
    if options["netns"]:
        netns = list(map(_number, options["netns"]))
        config["netns_filter"] = {"netns": netns, "deny_list": options["deny_netns"]}
    process = {key: options[key] for key in ("uid", "euid", "auid", "cgroup", "container_id", "pid") if options[key]}
    if options["tree"]:
        process["descendants"] = options["tree"]
    binary = {key: options[key] for key in ("name", "prefix", "path") if options[key]}
    if binary:
        process["binary"] = binary
    if process:
        config["process_filter"] = {**process, "deny_list": options["deny_process"]}
    config["report"] = _report_from_flags(options, enabled)
    for key, needed, present in (
        ("deny_ip", "--src-ip or --dst-ip", filters),
        ("deny_port", "--src-port or --dst-port", ports),
        ("deny_netns", "--netns", options["netns"]),
        (
            "deny_process",
            "--uid, --euid, --auid, --name, --prefix, --path, --cgroup, --container-id, --pid or --tree",
            process,
        ),
    ):
        if options[key] and not present:
            raise flag_error(key, f"inverts {needed}; add one, or leave it out")
    try:
        return check_document(document_of(config, "command line"), inode_of)
    except ConfigError as error:
        raise FlagError(error.problems) from None


def _report_from_flags(options: dict[str, Any], enabled: dict[str, bool]) -> dict[str, Any]:
    """Return the section `report`. enabled: for each direction's name, whether it is watched."""
    section = {name: options[name] for name in OPTIONS}
    events = [event.strip() for text in options["events"] for event in text.split(",")]
    known = tuple(event for event in events if event in EVENTS)  # others are refused with the whole configuration
    report = Report(**section, events=known)
    for name, needed in report.without_direction(enabled).items():
        (other,) = {*enabled} - {needed}
        raise flag_error(name, f"needs --{needed}; add it, or leave --{other} out")
    for event, needed in report.impossible_events(enabled).items():
        raise flag_error("events", f"{event} needs {_flag(needed)}; add it, or leave {event} out")
    return {**section, **({"events": events} if events else {})}


def _ip_filter(options: dict[str, Any], family: str) -> dict[str, Any]:
    """Return a family's filter of addresses. An address with a colon is IPv6."""
    lists = {
        end: [address for address in options[end] if (":" in address) == (family == "ipv6_filter")]
        for end in ("src_ip", "dst_ip")
    }
    present = {end: addresses for end, addresses in lists.items() if addresses}
    return {**present, "deny_list": options["deny_ip"]} if present else {}


def _number(text: str) -> int | str:
    """Return a number if the text is one, as YAML would, else the text."""
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else text
