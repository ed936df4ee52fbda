"""The names of the flags that describe a configuration, and errors about flags."""

from __future__ import annotations

from netmon.errors import ConfigError, Problem
from netmon.report import OPTIONS

ADDRESS_LISTS = ("src_ip", "dst_ip")
PORT_LISTS = ("src_port", "dst_port", "port")
BINARY_LISTS = ("name", "prefix", "path", "comm")
PROCESS_LISTS = ("uid", "euid", "auid", "gid", *BINARY_LISTS, "cgroup", "container_id", "pid", "tree")
# The flags that describe a configuration, by themselves or on top of a file.
FLAGS = (
    *("ingress", "egress", *OPTIONS, "ancestors", "progress", "events", "failures", "ipv4", "ipv6"),
    *(*ADDRESS_LISTS, "deny_ip", *PORT_LISTS, "deny_port", "netns", "deny_netns"),
    *("domain", "deny_domain"),
    *PROCESS_LISTS,
    "deny_process",
)

# Keys of the configuration whose flag has another name.
NAMES = {"descendants": "tree", "comm": "name"}


COMMAND_LINE = "command line"  # the source of problems of flags


class FlagError(ConfigError):
    """Problems of flags: str() renders each by its flag, `--flag: value message`."""

    def __str__(self) -> str:
        # The flags of addresses and ports set the keys of both directions: one mistake is found twice.
        return "\n".join(dict.fromkeys(map(_render, self.problems)))


def _render(problem: Problem) -> str:
    keys = [part for part in problem.location if isinstance(part, str)]
    return f"{flag_of(keys[-1])}: {problem.reason}" if keys else problem.reason


def flag_of(key: str) -> str:
    """Return the flag that sets a key of the configuration; a flag as it is."""
    return key if key.startswith("-") else f"--{NAMES.get(key, key).replace('_', '-')}"


def flag_error(key: str, message: str) -> FlagError:
    """Return an error about one flag. key: the flag, or its name with `_` in place of `-`."""
    return FlagError([Problem(COMMAND_LINE, None, (key,), None, message)])
