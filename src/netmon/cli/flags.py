"""What `netmon run`'s flags say: a configuration, durations, sizes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netmon.errors import ConfigError

if TYPE_CHECKING:
    from netmon.config import Config

# What a configuration file would say.
FLAGS = (
    *("ingress", "egress", "outcome", "existing", "statistics", "opener", "parent", "context"),
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
    config |= {key: True for key in ("existing", "statistics", "opener", "parent", "context") if options[key]}
    if options["outcome"]:
        if "egress" not in config:
            raise ConfigError(["--outcome: tells of --egress what became of it; give both, or leave out --ingress"])
        config["egress"]["outcome"] = True
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
