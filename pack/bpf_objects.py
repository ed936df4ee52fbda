"""Compiles the BPF objects from bpf/ into src/netmon/kernel/.

One source makes two objects: the full one, and a smaller one that has only what plain events need.
Only the standard library is imported here: build.py and the build hook of `pip install` both call it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pack.once import once
from pack.paths import BPF_OBJECT, BPF_OBJECT_WITH_DEBUG, BPF_OBJECTS, BUILD, MINIMAL_BPF_OBJECT, ROOT

SOURCES = ROOT / "bpf"
WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-parameter")
CLANG = (
    *("clang", "-O2", "-g", *WARNINGS, "-target", "bpf", "-mcpu=v3"),
    f"-fdebug-prefix-map={ROOT}=.",  # the same bytes in every tree
)
MINIMAL = "-DMINIMAL"

INSTALL = """\
netmon cannot be compiled here: {missing}.
Its BPF objects are compiled with clang 14 or newer, llvm-strip and libbpf's headers. Install them:
    Debian, Ubuntu:  apt install clang llvm libbpf-dev
    Fedora:          dnf install clang llvm libbpf-devel
A released wheel needs none of them: its objects are compiled."""


class CompileError(Exception):
    """The BPF objects cannot be compiled. The message says what to do."""


def compile_objects(*, strict: bool = False) -> None:
    """Compile both objects, unless they were compiled from the same sources.

    Args:
        strict: Whether a warning is an error. Newer compilers than the project's (clang 14) have more warnings.

    Raises:
        CompileError: clang, llvm-strip or libbpf's headers are missing, or clang failed.
    """

    def work() -> None:
        if missing := _missing():
            raise CompileError(INSTALL.format(missing=missing))
        for stale in {*BPF_OBJECT.parent.glob("*.bpf.o")} - {*BPF_OBJECTS}:
            stale.unlink()  # an object of an earlier name would get into wheels
        errors = ("-Werror",) if strict else ()
        _run(*CLANG, *errors, "-c", SOURCES / "netmon.bpf.c", "-o", BPF_OBJECT_WITH_DEBUG)
        _run("llvm-strip", "-g", BPF_OBJECT_WITH_DEBUG, "-o", BPF_OBJECT)
        _run(*CLANG, *errors, MINIMAL, "-c", SOURCES / "netmon.bpf.c", "-o", MINIMAL_BPF_OBJECT)
        _run("llvm-strip", "-g", MINIMAL_BPF_OBJECT)

    BUILD.mkdir(exist_ok=True)
    once((*BPF_OBJECTS, BPF_OBJECT_WITH_DEBUG), [*sorted(SOURCES.glob("*.[ch]")), *CLANG, MINIMAL], work)


def _missing() -> str:
    """Name the first thing that is missing; "" if nothing is."""
    for tool in ("clang", "llvm-strip"):
        if not shutil.which(tool):
            return f"{tool} is missing"
    headers = "#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_core_read.h>\n"
    command = ("clang", "-target", "bpf", "-E", "-x", "c", "-")
    found = subprocess.run(command, input=headers, text=True, capture_output=True)
    return "libbpf's headers are missing" if found.returncode else ""


def _run(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], cwd=ROOT)
    if done.returncode:
        raise CompileError(f"failed: {' '.join(map(str, command))}")
