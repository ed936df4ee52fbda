"""What `netmon run`'s flags say, and the flags themselves: a configuration, durations, sizes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netmon.errors import ConfigError
from netmon.limits import DEFAULT_BATCH_DELAY, DEFAULT_RING_SIZE, MINIMUM_KERNEL
from netmon.report import OPTIONS, Report

if TYPE_CHECKING:
    from netmon.config import Config

# What a configuration file would say.
FLAGS = (
    *("ingress", "egress", *OPTIONS),
    *("src_ip", "dst_ip", "deny_ip", "src_port", "dst_port", "deny_port", "netns", "deny_netns"),
    *("uid", "euid", "auid", "name", "prefix", "path", "cgroup", "container_id", "deny_process"),
)

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def duration(text: str) -> float:
    """Return the seconds of 10s, 500ms, 5m or 1h. Raises argparse's error."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write it like 10s, 500ms, 5m or 1h")
    return float(match[1]) * SECONDS[match[2]]


def size(text: str) -> int:
    """Return the bytes of 65536, 64K, 4M or 1G. Raises argparse's error."""
    match = re.fullmatch(r"(\d{1,12})([kmg]?)", text.lower(), re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it like 65536, 64K or 4M")
    return int(match[1]) * BYTES[match[2]]


def add_run_flags(run: argparse.ArgumentParser) -> None:
    """Add `netmon run`'s flags to its parser."""
    run.add_argument("--config", metavar="FILE", help="YAML configuration (docs/config.md)")
    run.add_argument(
        "--any-kernel",
        action="store_true",
        help=f"try on a kernel older than {MINIMUM_KERNEL}, too (or set NETMON_ANY_KERNEL=1)",
    )
    run.add_argument(
        "--aggregate",
        type=duration,
        metavar="PERIOD",
        help="report sums by process, peer, port and direction each PERIOD (10s, 5m), not each connection",
    )
    run.add_argument(
        "--no-lost-events", dest="lost_events", action="store_false", help="no LostEvents among the events"
    )
    run.add_argument(
        "--ring-size",
        type=size,
        metavar="SIZE",
        help=f"of the buffer between kernel and reader, a power of two (default: {DEFAULT_RING_SIZE >> 20}M)",
    )
    run.add_argument(
        "--batch-delay",
        type=duration,
        metavar="TIME",
        help="how long a first event waits for others to be read with it "
        f"(default: {DEFAULT_BATCH_DELAY * 1000:.0f}ms)",
    )
    report = run.add_argument_group("report options", "what to report beyond the plain events")
    for name, option in OPTIONS.items():
        report.add_argument(
            _flag(name),
            action="store_true",
            help=option.help + ("" if option.with_aggregate else " (not with --aggregate)"),
        )
    direction = run.add_argument_group("direction", "both when none is given")
    direction.add_argument("--ingress", action="store_true", help="accepted connections")
    direction.add_argument("--egress", action="store_true", help="connections that processes here ask for")
    address = run.add_argument_group(
        "addresses",
        "each may be repeated; src is this host's end, dst the peer's, either matches; "
        "a family (IPv4, IPv6) without any is not filtered",
    )
    address.add_argument("--src-ip", action="append", default=[], metavar="CIDR")
    address.add_argument("--dst-ip", action="append", default=[], metavar="CIDR")
    address.add_argument("--deny-ip", action="store_true", help="report all but these")
    port = run.add_argument_group("ports", "each may be repeated; a range is like 8000-8999; src, dst as for addresses")
    port.add_argument("--src-port", action="append", default=[], metavar="PORT")
    port.add_argument("--dst-port", action="append", default=[], metavar="PORT")
    port.add_argument("--deny-port", action="store_true", help="report all but these")
    netns = run.add_argument_group("network namespaces", "of the connections' sockets")
    netns.add_argument(
        "--netns", action="append", default=[], help="an inode number or a path, like /run/netns/NAME; may be repeated"
    )
    netns.add_argument("--deny-netns", action="store_true", help="report all but these")
    process = run.add_argument_group(
        "processes",
        "each may be repeated; one uid, one euid, one auid, one of name, prefix, path, one cgroup and one container "
        "id must match",
    )
    for name in ("uid", "euid", "auid"):
        process.add_argument(f"--{name}", action="append", type=int, default=[], metavar="ID")
    process.add_argument("--name", action="append", default=[], help="the executable's file name")
    process.add_argument("--prefix", action="append", default=[], help="how its path begins")
    process.add_argument("--path", action="append", default=[], help="its full path")
    process.add_argument("--cgroup", action="append", default=[], metavar="PATH", help="its cgroup, or one around it")
    process.add_argument("--container-id", action="append", default=[], metavar="ID", help="64 digits, or the first 12")
    process.add_argument("--deny-process", action="store_true", help="report all but these")


def config_of(options: argparse.Namespace) -> Config | None:
    """Return what `netmon run` is to watch; None is everything, for which no models are needed. Raises ConfigError."""
    flags = [name for name in FLAGS if getattr(options, name)]
    if options.config is None:
        return config_from_flags(vars(options)) if flags else None
    if flags:
        raise ConfigError([f"{_flag(flags[0])}: goes into the file that --config names; give one or the other"])
    from netmon.config import Config

    return Config.from_yaml(options.config, look_up=True)


def config_from_flags(options: dict[str, Any]) -> Config:
    """Return the configuration that `netmon run`'s flags describe: as YAML would, under the same checks."""
    from netmon.config import Config

    filters = {family: part for family in ("ipv4_filter", "ipv6_filter") if (part := _ip_filter(options, family))}
    ports = {key: list(map(_number, options[key])) for key in ("src_port", "dst_port") if options[key]}
    ends = {**filters, "port_filter": {**ports, "deny_list": options["deny_port"]}} if ports else filters
    both = options["ingress"] == options["egress"]
    config: dict[str, Any] = {
        direction: {"enabled": True, **ends} for direction in ("ingress", "egress") if both or options[direction]
    }
    if options["netns"]:
        netns = list(map(_number, options["netns"]))
        config["netns_filter"] = {"netns": netns, "deny_list": options["deny_netns"]}
    process = {key: options[key] for key in ("uid", "euid", "auid", "cgroup", "container_id") if options[key]}
    binary = {key: options[key] for key in ("name", "prefix", "path") if options[key]}
    if binary:
        process["binary"] = binary
    if process:
        config["process_filter"] = {**process, "deny_list": options["deny_process"]}
    report = Report(**{name: options[name] for name in OPTIONS})
    for name, direction in report.without_direction(
        {"ingress": "ingress" in config, "egress": "egress" in config}
    ).items():
        (other,) = {"ingress", "egress"} - {direction}
        raise ConfigError([f"{_flag(name)}: needs --{direction}; add it, or leave --{other} out"])
    config["report"] = report._asdict()
    for flag, needed, present in (
        ("deny_ip", "--src-ip or --dst-ip", filters),
        ("deny_port", "--src-port or --dst-port", ports),
        ("deny_netns", "--netns", options["netns"]),
        ("deny_process", "--uid, --euid, --auid, --name, --prefix, --path, --cgroup or --container-id", process),
    ):
        if options[flag] and not present:
            raise ConfigError([f"{_flag(flag)}: denies what {needed} names; give one"])
    try:
        return Config.from_dict(config, look_up=True)
    except ConfigError as error:
        raise ConfigError(_as_flags(error.problems)) from None


def _ip_filter(options: dict[str, Any], family: str) -> dict[str, Any]:
    """Return one family's part of the addresses: a colon tells IPv6."""
    lists = {
        end: [address for address in options[end] if (":" in address) == (family == "ipv6_filter")]
        for end in ("src_ip", "dst_ip")
    }
    present = {end: addresses for end, addresses in lists.items() if addresses}
    return {**present, "deny_list": options["deny_ip"]} if present else {}


def _number(text: str) -> int | str:
    """Return what YAML would make of a text that may be a number."""
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else text


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_flags(problems: Sequence[str]) -> list[str]:
    """Name problems by their flags, once, not by the keys of each direction that they were put under."""
    key = re.compile(r"^configuration: (?:\w+\.)*(\w+)(?:\[\d+\])?: ")
    return list(dict.fromkeys(key.sub(lambda match: f"{_flag(match[1])}: ", problem) for problem in problems))
