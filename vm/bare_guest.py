"""Runs a guest that holds a kernel, a first process and the files of a test, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from vm.archive import KERNELS, Archive, locked_cache
from vm.image import write_cpio

INIT = "bare_init"  # from tests/programs
TIME_LIMIT = 240  # seconds


def run_bare_guest(kernel: str, programs: Path, files: dict[str, Path], directory: Path) -> str:
    """Boot a guest; return all that it writes to its console.

    Args:
        kernel: A name of KERNELS.
        programs: The directory that INIT was compiled to.
        files: The files of its root directory, by name.
        directory: For the file system, before the start.
    """
    line = KERNELS[kernel]
    architecture = line.architecture
    with locked_cache():
        vmlinuz = Archive(line.suite, architecture).kernel(line)
    root = directory / "root"
    root.mkdir()
    for name, path in {"init": programs / architecture.name / INIT, **files}.items():
        shutil.copy(path, root / name)
    initramfs = directory / "initramfs"
    write_cpio(root, initramfs)
    options = ["console=ttyS0", "quiet", "panic=-1", "cryptomgr.notests", *architecture.boot_options]
    command = [
        *("setpriv", "--pdeathsig", "KILL", architecture.qemu, *architecture.machine),
        *("-accel", "tcg,thread=multi", "-cpu", line.cpu, "-smp", "2", "-m", "512M"),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-chardev", "stdio,id=port0", "-device", f"{architecture.serial_port},chardev=port0"),
        *("-kernel", vmlinuz, "-initrd", initramfs, "-append", " ".join(options)),
    ]
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT)
    return done.stdout.decode(errors="replace")
