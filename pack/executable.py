"""Makes the single-file executable, in dist/: netmon with a Python of its own, for any Linux.

The file is a launcher (launcher/launcher.c) followed by a zip archive. In the archive, start/ holds what the launcher
loads: the dynamic linker, Python and shared libraries. The modules that Python imports are at the archive's top, the
licences in LICENSES/, and the SBOM in netmon.cdx.json. The modules of the live view are in an archive of their own,
view.zip: a start that does not show it then finds its own modules among as few as before.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from netmon import __version__
from pack import libbpf, licences, runtime, sbom, third_party
from pack.launcher.start import VIEW_ARCHIVE
from pack.once import once
from pack.paths import BPF_OBJECTS, BUILD, DIST, KERNEL_PACKAGE, LIBBPF, PACKAGE, ROOT, package_inputs
from pack.third_party import ZLIB
from vm.architecture import ARCHITECTURES, NATIVE, Architecture

LAUNCHER = ROOT / "pack/launcher"
MODULES_SCRIPT = ROOT / "pack/modules.py"

INFLATE_MODULES = ("adler32", "crc32", "inflate", "inffast", "inftrees", "zutil")
LAUNCHER_FLAGS = (
    *("-static", "-pie", "-fPIE", "-O2", "-g0", "-s", "-std=gnu11", "-DHAVE_UNISTD_H", "-fno-sanitize=undefined"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-deprecated-non-prototype"),
)

# The sizes of the archive's end record and of its comment, as in launcher.c.
END_SIZE, COMMENT_SIZE = 22, 8

# The dynamic linker reads these files of the host in any case; they name libraries made for the host's C library.
HOST_FILES = (b"/etc/ld.so.preload\0", b"/etc/ld.so.cache\0")


def build(name: str, directory: Path) -> Path:
    """Build one architecture's executable, unless the same parts have made one before, which is in build/.

    Args:
        name: An architecture of ARCHITECTURES.
        directory: Where to put it.

    Returns:
        The file.
    """
    kept = BUILD / "executables"
    parts: list[Path | str] = [*package_inputs(), *runtime.names_of_debian_packages(ARCHITECTURES[name])]

    def work() -> None:
        build_anew(name, kept)

    once([kept / file_name(name)], parts, work)
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(kept / file_name(name), directory))


def file_name(name: str) -> str:
    return f"netmon-{__version__}-{name}"


def build_anew(name: str, directory: Path) -> Path:
    """Build one architecture's executable in a directory; return it. The same parts make the same bytes."""
    third_party.unpack_all()
    work = BUILD / "executable" / name
    architecture = ARCHITECTURES[name]
    debian = runtime.unpack_debian(architecture, work / "debian")
    wheels = runtime.unpack_wheels(architecture, work / "packages")
    modules = _modules(architecture, work)
    start = _start(work / "debian", architecture, modules)
    view = _files_below(work / "view")
    texts = licences.collect(work / "debian", [package.name for package in debian], work / "packages")
    members = {
        **modules,
        **start,
        VIEW_ARCHIVE: _zip(view, zipfile.ZIP_STORED),  # is packed as a whole, which takes less
        **{f"{licences.DIRECTORY}/{name}": text for name, text in texts.items()},
        sbom.FILE_NAME: _sbom([*debian, *wheels, runtime.MUSL]),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file_name(name)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(_assemble(_compile_launcher(architecture, work), members))
    partial.chmod(0o755)
    partial.replace(path)
    return path


def _assemble(launcher: bytes, members: dict[str, bytes]) -> bytes:
    """Return the file: the launcher and the archive, whose comment is the checksum that the launcher compares."""
    data = _zip(members, zipfile.ZIP_DEFLATED, before=launcher, comment=b"0" * COMMENT_SIZE)
    checksum = zlib.crc32(data[: -END_SIZE - COMMENT_SIZE])
    return data[:-COMMENT_SIZE] + b"%08x" % checksum


def _zip(members: dict[str, bytes], method: int, *, before: bytes = b"", comment: bytes = b"") -> bytes:
    """Return an archive, and what is to be before it."""
    file = io.BytesIO()
    file.write(before)
    with zipfile.ZipFile(file, "a") as archive:
        for name in sorted(members):
            information = zipfile.ZipInfo(name)  # dated 1980
            information.create_system, information.external_attr = 3, 0o100644 << 16
            archive.writestr(information, members[name], method, 9)
        archive.comment = comment
    return file.getvalue()


def _files_below(directory: Path) -> dict[str, bytes]:
    """Return the contents of all files, by their paths below the directory."""
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def _compile_launcher(architecture: Architecture, work: Path) -> bytes:
    """Compile the launcher. Paths are relative, so that none of this machine gets into the program."""
    output = work / "launcher"
    c_files = [LAUNCHER / "launcher.c", *(ZLIB.directory / f"{module}.c" for module in INFLATE_MODULES)]
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture.name}-linux-musl", *LAUNCHER_FLAGS),
        f"-I{ZLIB.directory.relative_to(ROOT)}",
        *(str(path.relative_to(ROOT)) for path in c_files),
        *("-o", str(output)),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    return output.read_bytes()


def _modules(architecture: Architecture, work: Path) -> dict[str, bytes]:
    """Return netmon and all modules that it may import, compiled, with native modules and libbpf.

    The modules that the live view alone needs are compiled into the directory view.
    """
    packages, output, view = work / "packages", work / "modules", work / "view"
    shutil.copytree(PACKAGE, packages / "netmon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(LAUNCHER / "start.py", packages)
    for directory in (output, view):
        shutil.rmtree(directory, ignore_errors=True)
    # Drop the machine's name from the file names, so that any Python finds the native modules.
    native = {path: path.with_name(f"{path.name.partition('.')[0]}.so") for path in packages.rglob("*.so")}
    for path, short in native.items():
        path.rename(short)
    root = _python_for_this_machine(architecture, work)
    names = runtime.run_python(root, MODULES_SCRIPT, packages, root / runtime.STDLIB, output, view).split()
    for short in native.values():
        shutil.copy(short, output / short.relative_to(packages))
    for name in names:
        (path,) = (work / "debian" / runtime.STDLIB / "lib-dynload").glob(f"{name}.*")
        shutil.copy(path, output / f"{name}.so")
    for text in (packages / "netmon").rglob("*.yaml"):
        shutil.copy(text, output / text.relative_to(packages))
    libbpf.compile_libbpf(libbpf.TARGETS[f"{architecture.name}-manylinux"], output / LIBBPF)
    for bpf_object in BPF_OBJECTS:
        shutil.copy(bpf_object, output / KERNEL_PACKAGE)
    for path in output.rglob("*.so"):
        subprocess.run(["llvm-strip", path], check=True)
    return _files_below(output)


def _python_for_this_machine(architecture: Architecture, work: Path) -> Path:
    """Return the directory where it was unpacked."""
    if architecture == NATIVE:
        return work / "debian"
    runtime.unpack_debian(NATIVE, work / "native")
    return work / "native"


def _start(root: Path, architecture: Architecture, modules: dict[str, bytes]) -> dict[str, bytes]:
    """Return what the launcher loads. Removes from modules the native ones that need a library which is not there."""
    directory = runtime.libraries(architecture, root)
    python = (root / f"usr/bin/python{runtime.PYTHON}").read_bytes()
    libraries: dict[str, bytes] = {}
    _add_needed(python, directory, libraries)
    for name in [name for name in modules if name.endswith(".so")]:
        try:
            _add_needed(modules[name], directory, libraries)
        except FileNotFoundError:
            del modules[name]
    linker = libraries.pop(runtime.LINKERS[architecture.name])
    for file in HOST_FILES:
        assert linker.count(file) == 1
        linker = linker.replace(file, b"\0" * len(file))
    start = {"linker": linker, "python": python, **libraries}
    return {f"start/{name}": data for name, data in start.items()}


def _add_needed(elf: bytes, directory: Path, libraries: dict[str, bytes]) -> None:
    """Add the libraries that an ELF file needs, directly or not. Raises FileNotFoundError, and then adds none."""
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


def _sbom(packages: Sequence[runtime.Package]) -> bytes:
    licence = importlib.metadata.metadata("netmon-bpf")["License-Expression"]
    return sbom.make_sbom(__version__, licence, packages).encode()


def build_for_targets(parser: argparse.ArgumentParser, arguments: Sequence[str] | None, build: Build) -> None:
    """Build for the architecture that --target names, or for all; print each file's name, size and checksum."""
    parser.add_argument("--target", choices=(*ARCHITECTURES, "all"), default="all")
    parser.add_argument("--directory", type=Path, default=DIST, help="where to put them (default: dist/)")
    options = parser.parse_args(arguments)
    for name in ARCHITECTURES if options.target == "all" else (options.target,):
        path = build(name, options.directory)
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{os.path.relpath(path)}  {path.stat().st_size:,} bytes  SHA-256 {checksum}")


Build = Callable[[str, Path], Path]


def main(arguments: Sequence[str] | None = None) -> None:
    """Build for one architecture, or for all."""
    parser = argparse.ArgumentParser(prog="build.py executable", description="Makes the single-file executable.")
    build_for_targets(parser, arguments, build)


if __name__ == "__main__":
    main()
