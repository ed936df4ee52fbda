"""The project's own files in a guest, as an initramfs that the kernel unpacks over the base image."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vm.archive import KernelLine
from vm.image import BUILD, PROJECT, USERLANDS, Contents, compile_python, run_native_python, write_cpio

INIT = PROJECT / "vm/guest/init"
IN_GUEST = Path("opt/netmon")
# What guests run, and what tests read.
DIRECTORIES = ("src", "tests", "vm", "bench", "docs", "pack/container")
COMPILED = ("src", "tests/support", "vm")
# The packages of this environment: pytest's run with any Python.
PACKAGES = Path(pytest.__file__).parents[1]


def project_overlay(files: dict[str, bytes], line: KernelLine, contents: Contents, image: Path) -> None:
    """Write the initramfs with the project's files, with what was built for its architecture, and with further files.

    Args:
        files: Contents of further files, by name, for the project's directory.
        line: The guest's kernel.
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
        if (built := BUILD / name / line.architecture.name).exists():  # what only tests need may not be built
            shutil.copytree(built, target / place)
    for name, data in files.items():
        (target / name).write_bytes(data)
    userland = USERLANDS[line.suite]
    compile_python(userland, root, *(target / name for name in COMPILED))
    run_native_python(userland, "vm.rewrite_asserts", target / "tests", path=f"{PROJECT}:{PACKAGES}")
    write_cpio(root, image)
    shutil.rmtree(root)
