"""A guest with nothing in it but a kernel, a first process and the files that a test gives it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.harness.archive import KERNELS, Archive, locked_cache
from tests.harness.image import write_cpio

INIT = "bare_init"  # of tests/programs
TIME_LIMIT = 240  # seconds


def run_bare_guest(kernel: str, programs: Path, files: dict[str, Path], directory: Path) -> str:
    """Boot it; return what its console says until it ends.

    kernel: of KERNELS. programs: where INIT was compiled to. files: laid into its root.
    """
    line = KERNELS[kernel]
    with locked_cache():
        vmlinuz = Archive(line.suite).kernel(line)
    root = directory / "root"
    root.mkdir()
    for name, path in {"init": programs / INIT, **files}.items():
        shutil.copy(path, root / name)
    initramfs = directory / "initramfs"
    write_cpio(root, initramfs)
    command = [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", line.cpu),
        *("-smp", "2", "-m", "512M", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", vmlinuz, "-initrd", initramfs),
        *("-append", "console=ttyS0 quiet panic=-1 cryptomgr.notests tsc=reliable"),
    ]
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT)
    return done.stdout.decode(errors="replace")
