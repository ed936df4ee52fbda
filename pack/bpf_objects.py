"""Compiles the BPF objects from bpf/ into src/netmon/kernel/.

One source makes the full object, and smaller ones that lack report options, or filters, or both.
Only the standard library is imported here: build.py and the build hook of `pip install` both call it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from netmon.kernel import OBJECTS
from pack.once import once
from pack.paths import BPF_OBJECT, BPF_OBJECT_WITH_DEBUG, BPF_OBJECTS, BUILD, ROOT

SOURCES = ROOT / "bpf"
WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-parameter")
CLANG = (
    *("clang", "-O2", "-g", *WARNINGS, "-target", "bpf", "-mcpu=v3"),
    f"-fdebug-prefix-map={ROOT}=.",  # the same bytes in every tree
)
WITHOUT = {"options": "-DMINIMAL", "filters": "-DUNFILTERED"}

INSTALL = """\
netmon cannot be compiled here: {missing}.
Its BPF objects are compiled with clang 14 or newer, llvm-strip and libbpf's headers. Install them:
    Debian, Ubuntu:  apt install clang llvm libbpf-dev
    Fedora:          dnf install clang llvm libbpf-devel
A released wheel needs none of them: its objects are compiled."""


class CompileError(Exception):
    """The BPF objects cannot be compiled. The message says what to do."""


def compile_objects(*, strict: bool = False) -> None:
    """Compile all objects, unless they were compiled from the same sources.

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
        clang = (*CLANG, *errors, "-c", SOURCES / "netmon.bpf.c")

        def compile_one(lacks: Collection[str], path: Path) -> None:
            compiled = path if lacks else BPF_OBJECT_WITH_DEBUG
            _run(*clang, *(WITHOUT[part] for part in sorted(lacks)), "-o", compiled)
            _run("llvm-strip", "-g", compiled, "-o", path)

        with ThreadPoolExecutor() as threads:
            list(threads.map(compile_one, OBJECTS, BPF_OBJECTS))

    BUILD.mkdir(exist_ok=True)
    flags = (*CLANG, *WITHOUT.values())
    once((*BPF_OBJECTS, BPF_OBJECT_WITH_DEBUG), [*sorted(SOURCES.glob("*.[ch]")), *flags], work)


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
