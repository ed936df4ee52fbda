"""The processor architectures of guests and packages."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A processor architecture, and the machine that QEMU emulates with it."""

    name: str  # as in uname -m, QEMU and Python's wheels
    debian: str
    machine: tuple[str, ...]  # options of QEMU
    # The kernel names its ports ttyS0 and ttyS1, whatever their bus.
    serial_port: str
    boot_options: tuple[str, ...] = ()

    @property
    def qemu(self) -> str:
        return f"qemu-system-{self.name}"

    @property
    def multiarch(self) -> str:
        """The name of Debian's directories of libraries."""
        return f"{self.name}-linux-gnu"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that run on it."""
        return tuple(f"{libc}_{self.name}" for libc in ("manylinux2014", "manylinux_2_17", "manylinux_2_28"))


X86_64 = Architecture("x86_64", "amd64", (), "isa-serial", ("tsc=reliable",))
AARCH64 = Architecture("aarch64", "arm64", ("-machine", "virt"), "pci-serial")

ARCHITECTURES = {architecture.name: architecture for architecture in (X86_64, AARCH64)}

# This machine's own.
NATIVE = ARCHITECTURES[os.uname().machine]
