"""The texts of an event's fields, from the kernel's numbers and bytes."""

from __future__ import annotations

import re
import time
from functools import lru_cache

from netmon.capabilities import CAPABILITIES
from netmon.layout import Secureexec

ADDRESSES_KEPT = 8192  # some 350 bytes each

# The runtimes' scopes (docker-ID.scope, cri-containerd-ID.scope, ...), and the bare ID of the cgroupfs drivers.
# SLICE:cri-containerd:ID: what becomes of a path meant for systemd when the runtime makes the cgroup itself.
# conmon supervises a container from a scope of its own on the host.
# The same rule in C: names_container() in bpf/cgroup_filter.h.
_CONTAINER = re.compile(r"(?:.*(?<!conmon)[-:])?([0-9a-f]{64})(?:\.scope)?")


@lru_cache(maxsize=64)
def _format_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))


def format_timestamp(ns: int) -> str:
    """Return nanoseconds since the epoch as 2025-11-23T13:47:33.289Z, cut to the millisecond."""
    seconds, milliseconds = divmod(ns // 1_000_000, 1000)
    return f"{_format_seconds(seconds)}{milliseconds:03d}Z"


@lru_cache(maxsize=ADDRESSES_KEPT)
def format_address(packed: bytes) -> str:
    """Return an IPv4 (4 bytes) or IPv6 (16 bytes) address as text."""
    import socket  # slow to import: not before the probes are attached

    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


@lru_cache(maxsize=256)
def format_capabilities(mask: int, last_cap: int) -> str:
    """Return a capability set's names, or ALL_CAPS when it has each up to last_cap, the kernel's last one."""
    everything = (1 << (last_cap + 1)) - 1
    if mask & everything == everything:
        return "ALL_CAPS"
    numbers = (number for number in range(mask.bit_length()) if mask >> number & 1)
    return " | ".join(f"CAP_{CAPABILITIES[number] if number < len(CAPABILITIES) else number}" for number in numbers)


@lru_cache(maxsize=16)
def format_secureexec(flags: int) -> str:
    """Return the names of a process record's secureexec flags."""
    return " | ".join(flag.name for flag in Secureexec if flags & flag)


def format_args(argv: bytes) -> str:
    """Return argv (its strings ended by NUL) without its first, joined by spaces.

    Bytes that are not UTF-8 are escaped (\\xff). NULs at the end are dropped: a program that writes a title over
    its arguments (nginx, sshd) leaves a run of them.
    """
    _, _, rest = argv.partition(b"\0")
    return rest.rstrip(b"\0").replace(b"\0", b" ").decode(errors="backslashreplace")


def container_id_of(cgroup_path: str) -> str | None:
    """Return the full id of the innermost container that a cgroup path names; None on the host."""
    for name in reversed(cgroup_path.split("/")):
        match = _CONTAINER.fullmatch(name)
        if match:
            return match[1]
    return None
