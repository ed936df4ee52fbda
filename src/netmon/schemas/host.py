"""The host that events come from: what netmon's own JSON leaves out, and the schemas ask for."""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

import os
from typing import NamedTuple

from netmon.capabilities import CAPABILITIES

MACHINE_ID, BOOT_ID, LAST_CAP = "/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/cap_last_cap"


class Host(NamedTuple):
    """A host. What is not known is empty.

    Attributes:
        name: Its name.
        id: systemd's machine id, which survives a boot.
        boot_id: The kernel's id of this boot.
        last_cap: The number of the kernel's last capability.
    """

    name: str = ""
    id: str = ""
    boot_id: str = ""
    last_cap: int = len(CAPABILITIES) - 1


def read_host() -> Host:
    """Return the host that this process runs on, as far as it may be read."""
    last_cap = _read(LAST_CAP)
    return Host(
        os.uname().nodename,
        _read(MACHINE_ID),
        _read(BOOT_ID),
        int(last_cap) if last_cap.isdecimal() else Host().last_cap,
    )


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""
