"""libbpf for wheels: one shared library that needs nothing but the C library, for each platform, by `zig cc`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from pack.sources import ELFUTILS, LIBBPF, ROOT, ZLIB

ZIGLANG = "ziglang==0.17.1"  # which compiles alike everywhere
CONFIG = ROOT / "pack/include"


class Target(NamedTuple):
    """One platform: what zig calls it, and the wheel's tag."""

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
    # zig's default traps on undefined behaviour that these libraries' own builds pass over.
    "-fno-sanitize=undefined",
    *("-D_GNU_SOURCE", "-DHAVE_CONFIG_H", "-D_LARGEFILE64_SOURCE", "-D_FILE_OFFSET_BITS=64"),
)
LINK = (
    *("-shared", "-s", "-Wl,--gc-sections", "-Wl,-z,defs", "-Wl,-z,now"),
    # A program may have another libbpf loaded: neither is to be taken for the other.
    *("-Wl,-Bsymbolic", "-Wl,-soname,libbpf-netmon.so"),
)


def compile_libbpf(target: Target, output: Path) -> None:
    """Compile libbpf with libelf and zlib in it. Relative paths: none of this machine's gets into the library."""
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
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(ROOT / "build/zig")}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def _include_directories() -> list[Path]:
    libbpf, elfutils = LIBBPF.directory, ELFUTILS.directory
    return [
        *(CONFIG, elfutils / "lib", elfutils / "libelf", ZLIB.directory),
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
    """Return the name of the target that fits this host's Python; None where there is none."""
    machine = os.uname().machine
    # Set by CPython's own build to the C library's kind: x86_64-linux-gnu, x86_64-linux-musl.
    kind = "musllinux" if "musl" in getattr(sys.implementation, "_multiarch", "") else "manylinux"
    name = f"{machine}-{kind}"
    return name if name in TARGETS else None
