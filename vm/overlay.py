"""The project's own files in a guest, as an initramfs that the kernel unpacks over the base image."""

from __future__ import annotations

import shutil
from pathlib import Path

from vm.architecture import Architecture
from vm.image import BUILD, PROJECT, Contents, write_cpio

INIT = PROJECT / "vm/guest/init"
IN_GUEST = Path("opt/netmon")
# What guests run, and what tests read.
DIRECTORIES = ("src", "tests", "vm", "bench", "docs", "pack/container")


def project_overlay(files: dict[str, bytes], architecture: Architecture, contents: Contents, image: Path) -> None:
    """Write the initramfs with the project's files, with what was built for the architecture, and with further files.

    Args:
        files: Contents of further files, by name, for the project's directory.
        architecture: The guest's.
        contents: Says which built files the guest gets.
        image: The file to write.
    """
    root = image.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    target = root / IN_GUEST
    for name in DIRECTORIES:
        shutil.copytree(PROJECT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(PROJECT / "pyproject.toml", target)
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    for name, place in contents.built:
        if (built := BUILD / name / architecture.name).exists():  # what only tests need may not be built
            shutil.copytree(built, target / place)
    for name, data in files.items():
        (target / name).write_bytes(data)
    write_cpio(root, image)
    shutil.rmtree(root)
