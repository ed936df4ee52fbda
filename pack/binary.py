"""Makes the one file: netmon with its own Python, for any Linux, in dist/.

It is a launcher (onefile/launcher.c) and a zip archive behind it. The archive has in start/ what the launcher loads:
the dynamic linker, Python and libraries; at its top the modules that Python imports; licences in LICENSES/, and what
is inside in netmon.cdx.json.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import io
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from netmon import __version__
from pack import bundle, runtime, sbom, sources
from pack.runtime import ARCHITECTURES, LINKERS, Package
from pack.sources import ROOT, ZLIB
from vm.architecture import NATIVE, Architecture

ONE_FILE = ROOT / "pack/onefile"
PACKAGE = ROOT / "src/netmon"

INFLATE_MODULES = ("adler32", "crc32", "inflate", "inffast", "inftrees", "zutil")
LAUNCHER = (
    *("-static", "-pie", "-fPIE", "-O2", "-g0", "-s", "-std=gnu11", "-DHAVE_UNISTD_H", "-fno-sanitize=undefined"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-deprecated-non-prototype"),
)

# Of the archive's end record and its comment, as in launcher.c.
END_SIZE, COMMENT_SIZE = 22, 8

# Files of the host's that the dynamic linker would read whatever it is told: libraries made for the host's C library.
HOST_FILES = (b"/etc/ld.so.preload\0", b"/etc/ld.so.cache\0")


def build(name: str, directory: Path) -> Path:
    """Build one architecture's file; return it. The same parts make the same bytes."""
    sources.unpack_all()
    work = ROOT / "build/onefile" / name
    architecture = ARCHITECTURES[name]
    debian = runtime.unpack_debian(architecture, work / "debian")
    wheels = runtime.unpack_wheels(architecture, work / "packages")
    modules = _modules(architecture, work)
    start = _start(work / "debian", architecture, modules)
    licences = _licences(work, [package.name for package in debian])
    members = {
        **modules,
        **start,
        **{f"LICENSES/{name}": text for name, text in licences.items()},
        "netmon.cdx.json": _materials(debian, wheels),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"netmon-{__version__}-{name}"
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(_assemble(_compile_launcher(architecture, work), members))
    partial.chmod(0o755)
    partial.replace(path)
    return path


def _assemble(launcher: bytes, members: dict[str, bytes]) -> bytes:
    """Return the file: the launcher, the archive, and as the archive's comment the checksum that the launcher asks."""
    file = io.BytesIO()
    file.write(launcher)
    with zipfile.ZipFile(file, "a") as archive:
        for name in sorted(members):
            information = zipfile.ZipInfo(name)  # of 1980
            information.create_system, information.external_attr = 3, 0o100644 << 16
            archive.writestr(information, members[name], zipfile.ZIP_DEFLATED, 9)
        archive.comment = b"0" * COMMENT_SIZE
    data = file.getvalue()
    checksum = zlib.crc32(data[: -END_SIZE - COMMENT_SIZE])
    return data[:-COMMENT_SIZE] + b"%08x" % checksum


def _compile_launcher(architecture: Architecture, work: Path) -> bytes:
    """Relative paths: none of this machine's gets into the program."""
    output = work / "launcher"
    c_files = [ONE_FILE / "launcher.c", *(ZLIB.directory / f"{module}.c" for module in INFLATE_MODULES)]
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture.name}-linux-musl", *LAUNCHER),
        f"-I{ZLIB.directory.relative_to(ROOT)}",
        *(str(path.relative_to(ROOT)) for path in c_files),
        *("-o", str(output)),
    ]
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(ROOT / "build/zig")}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return output.read_bytes()


def _modules(architecture: Architecture, work: Path) -> dict[str, bytes]:
    """Return netmon and all modules that it may import, compiled, with the native ones and libbpf."""
    packages, output = work / "packages", work / "modules"
    shutil.copytree(PACKAGE, packages / "netmon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ONE_FILE / "start.py", packages)
    shutil.rmtree(output, ignore_errors=True)
    # Without the machine's name in theirs, so that any Python takes them for modules.
    native = {path: path.with_name(f"{path.name.partition('.')[0]}.so") for path in packages.rglob("*.so")}
    for path, short in native.items():
        path.rename(short)
    root = _python_for_this_machine(architecture, work)
    names = runtime.run_python(root, ONE_FILE / "modules.py", packages, root / runtime.STDLIB, output).split()
    for short in native.values():
        shutil.copy(short, output / short.relative_to(packages))
    for name in names:
        (path,) = (work / "debian" / runtime.STDLIB / "lib-dynload").glob(f"{name}.*")
        shutil.copy(path, output / f"{name}.so")
    library = output / "netmon/kernel/libbpf-netmon.so"
    bundle.compile_libbpf(bundle.TARGETS[f"{architecture.name}-manylinux"], library)
    for compiled in sorted((PACKAGE / "kernel").glob("*.bpf.o")):
        shutil.copy(compiled, output / "netmon/kernel")
    for path in output.rglob("*.so"):
        subprocess.run(["llvm-strip", path], check=True)
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()}


def _python_for_this_machine(architecture: Architecture, work: Path) -> Path:
    """Return where it was unpacked."""
    if architecture == NATIVE:
        return work / "debian"
    runtime.unpack_debian(NATIVE, work / "native")
    return work / "native"


def _start(root: Path, architecture: Architecture, modules: dict[str, bytes]) -> dict[str, bytes]:
    """Return what the launcher loads. Takes native modules for which there is no library out of modules."""
    directory = runtime.libraries(architecture, root)
    python = (root / f"usr/bin/python{runtime.PYTHON}").read_bytes()
    libraries: dict[str, bytes] = {}
    _add_needed(python, directory, libraries)
    for name in [name for name in modules if name.endswith(".so")]:
        try:
            _add_needed(modules[name], directory, libraries)
        except FileNotFoundError:
            del modules[name]
    linker = libraries.pop(LINKERS[architecture.name])
    for file in HOST_FILES:
        assert linker.count(file) == 1
        linker = linker.replace(file, b"\0" * len(file))
    start = {"linker": linker, "python": python, **libraries}
    return {f"start/{name}": data for name, data in start.items()}


def _add_needed(elf: bytes, directory: Path, libraries: dict[str, bytes]) -> None:
    """Add the libraries that an ELF file needs, and those that they need. Raises FileNotFoundError, and adds none."""
    found = dict(libraries)
    names = _needed(elf)
    while names:
        name = names.pop()
        if name not in found:
            found[name] = (directory / name).read_bytes()
            names |= _needed(found[name])
    libraries.update(found)


def _needed(elf: bytes) -> set[str]:
    dynamic: Any = ELFFile(io.BytesIO(elf)).get_section_by_name(".dynamic")
    return {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}


def _licences(work: Path, debian: Iterable[str]) -> dict[str, bytes]:
    """Return the licences' texts, by file names that tell whose they are."""
    import ziglang

    texts = {path.name: path for path in sorted((ROOT / "LICENSES").iterdir())}
    texts["musl-COPYRIGHT"] = Path(ziglang.__file__).with_name("lib") / "libc/musl/COPYRIGHT"
    for name in debian:
        texts[f"{name}-copyright"] = work / "debian/usr/share/doc" / name / "copyright"
    for path in sorted((work / "packages").glob("*.dist-info/licenses/**/*")):
        if path.is_file():
            distribution = path.relative_to(work / "packages").parts[0].partition("-")[0]
            texts[f"{distribution}-{path.name}"] = path
    return {name: path.read_bytes() for name, path in texts.items()}


def _materials(debian: Sequence[Package], wheels: Sequence[Package]) -> bytes:
    licence = importlib.metadata.metadata("netmon-bpf")["License-Expression"]
    return sbom.make_sbom(__version__, licence, [*debian, *wheels, runtime.MUSL]).encode()


def parse_targets(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> Sequence[str]:
    """Return the names of the architectures that are asked for: all, unless --target says otherwise."""
    parser.add_argument("--target", choices=(*ARCHITECTURES, "all"), default="all")
    target = parser.parse_args(arguments).target
    return tuple(ARCHITECTURES) if target == "all" else (target,)


def build_in_dist(targets: Sequence[str], build: Callable[[str, Path], Path]) -> None:
    """Build each into dist/, and say what it is."""
    for architecture in targets:
        path = build(architecture, ROOT / "dist")
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes  SHA-256 {checksum}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what is asked for, or all."""
    parser = argparse.ArgumentParser(prog="build.py binary", description="Makes the one file, in dist/.")
    build_in_dist(parse_targets(parser, arguments), build)


if __name__ == "__main__":
    main()
