"""What differs from one processor to another."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A kind of processor, and the machine that QEMU makes round it."""

    name: str  # as uname -m, QEMU and Python's wheels have it
    debian: str
    machine: tuple[str, ...]  # QEMU's
    # Named ttyS0, ttyS1 by the kernel, whatever bus they are on.
    serial_port: str
    boot_options: tuple[str, ...] = ()

    @property
    def qemu(self) -> str:
        return f"qemu-system-{self.name}"

    @property
    def multiarch(self) -> str:
        """The name of Debian's directories for its libraries."""
        return f"{self.name}-linux-gnu"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """What wheels that run there are tagged with."""
        return tuple(f"{libc}_{self.name}" for libc in ("manylinux2014", "manylinux_2_17", "manylinux_2_28"))


X86_64 = Architecture("x86_64", "amd64", (), "isa-serial", ("tsc=reliable",))
AARCH64 = Architecture("aarch64", "arm64", ("-machine", "virt"), "pci-serial")

ARCHITECTURES = {architecture.name: architecture for architecture in (X86_64, AARCH64)}

# This machine's own.
NATIVE = ARCHITECTURES[os.uname().machine]
