"""Compiles the bundled libbpf: for each platform one shared library that needs only the C library, with `zig cc`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from pack.paths import LIBBPF as LIBRARY
from pack.paths import ROOT
from pack.third_party import ELFUTILS, LIBBPF, ZLIB

ZIGLANG = "ziglang==0.17.1"  # pinned: one version makes the same bytes everywhere
ELFUTILS_CONFIG = ROOT / "pack/elfutils"


class Target(NamedTuple):
    """One platform: zig's name for it, and the wheel's tag."""

    triple: str
    tag: str


TARGETS = {
    "x86_64-manylinux": Target("x86_64-linux-gnu.2.17", "manylinux2014_x86_64"),
    "aarch64-manylinux": Target("aarch64-linux-gnu.2.17", "manylinux2014_aarch64"),
    "x86_64-musllinux": Target("x86_64-linux-musl", "musllinux_1_2_x86_64"),
    "aarch64-musllinux": Target("aarch64-linux-musl", "musllinux_1_2_aarch64"),
}

ZLIB_MODULES = tuple(
    "adler32 compress crc32 deflate gzclose gzlib gzread gzwrite inffast inflate inftrees trees uncompr zutil".split()
)

COMPILE = (
    *("-O2", "-g0", "-w", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"),
    # zig's default traps undefined behaviour, which these libraries' own builds do not.
    "-fno-sanitize=undefined",
    *("-D_GNU_SOURCE", "-DHAVE_CONFIG_H", "-D_LARGEFILE64_SOURCE", "-D_FILE_OFFSET_BITS=64"),
)
LINK = (
    *("-shared", "-s", "-Wl,--gc-sections", "-Wl,-z,defs", "-Wl,-z,now"),
    # The process may have loaded another libbpf: keep the symbols of the two apart.
    *("-Wl,-Bsymbolic", f"-Wl,-soname,{LIBRARY.name}"),
)


def compile_libbpf(target: Target, output: Path) -> None:
    """Compile libbpf, libelf and zlib into one library, with relative paths: none of this machine gets into it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", target.triple),
        *COMPILE,
        *(f"-I{path.relative_to(ROOT)}" for path in _include_directories()),
        *(str(path.relative_to(ROOT)) for path in _c_files()),
        *LINK,
        f"-Wl,--version-script={(LIBBPF.directory / 'src/libbpf.map').relative_to(ROOT)}",
        *("-o", str(output)),
    ]
    subprocess.run(command, cwd=ROOT, check=True)


def _include_directories() -> list[Path]:
    libbpf, elfutils = LIBBPF.directory, ELFUTILS.directory
    return [
        *(ELFUTILS_CONFIG, elfutils / "lib", elfutils / "libelf", ZLIB.directory),
        *(libbpf / "src", libbpf / "include", libbpf / "include/uapi"),
    ]


def _c_files() -> list[Path]:
    libelf = ELFUTILS.directory / "libelf"
    makefile = (libelf / "Makefile.am").read_text().replace("\\\n", " ")
    names = re.search(r"^libelf_a_SOURCES = (.*)$", makefile, re.MULTILINE)
    assert names
    return [
        *sorted((LIBBPF.directory / "src").glob("*.c")),
        *(libelf / name for name in names[1].split()),
        ELFUTILS.directory / "lib/eu-search.c",
        *(ZLIB.directory / f"{module}.c" for module in ZLIB_MODULES),
    ]


def host_target() -> str | None:
    """Return the name of the target for this host's Python, or None if there is none."""
    machine = os.uname().machine
    # CPython's build sets it to the kind of C library: x86_64-linux-gnu, x86_64-linux-musl.
    kind = "musllinux" if "musl" in getattr(sys.implementation, "_multiarch", "") else "manylinux"
    name = f"{machine}-{kind}"
    return name if name in TARGETS else None
