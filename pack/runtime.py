"""Unpacks the Python runtime of the single-file executable: Python and its C library from Debian, packages from PyPI.

PyPI's are pinned, with their SHA-256, in runtime_requirements.txt. Debian's are the newest of its stable release and of
its security updates, whose indexes Debian signs. They cannot be pinned: mirrors drop a revision when a newer one
appears. The SBOM lists the revisions.
"""

from __future__ import annotations

import email.parser
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from pack.libbpf import ZIGLANG
from pack.paths import ROOT
from pack.third_party import DEBIAN_SUITE
from vm.architecture import NATIVE, Architecture
from vm.archive import CACHE, Archive, locked_cache

REQUIREMENTS = ROOT / "pack/runtime_requirements.txt"
PYTHON = "3.13"  # Debian's
STDLIB = Path(f"usr/lib/python{PYTHON}")
DEBIAN_PACKAGES = (
    "gcc-14-base",  # has the licence of libgcc-s1
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    f"libpython{PYTHON}-minimal",
    f"libpython{PYTHON}-stdlib",
    f"python{PYTHON}-minimal",
    "zlib1g",
)

# The file name of each architecture's dynamic linker.
LINKERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}


class Package(NamedTuple):
    """A package in the executable, from Debian or from PyPI."""

    name: str
    version: str
    purl: str
    archive: str
    sha256: str
    licence: str | None  # SPDX, if the package names it; its texts are in LICENSES


# The launcher's C library comes with the compiler.
MUSL = Package("musl", "1.2.5", "pkg:generic/musl@1.2.5", ZIGLANG, "", "MIT")


def unpack_debian(architecture: Architecture, root: Path) -> list[Package]:
    """Unpack Python and the packages that it needs into a new directory, root."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with locked_cache():
        debs = _download_debian(architecture)
        for deb in debs:
            subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
        return [_debian_package(deb) for deb in debs]


def names_of_debian_packages(architecture: Architecture) -> list[str]:
    """Return the file names, with versions, of the packages that unpack_debian() unpacks."""
    with locked_cache():
        return [deb.name for deb in _download_debian(architecture)]


def _download_debian(architecture: Architecture) -> list[Path]:
    downloaded = Archive(DEBIAN_SUITE, architecture, security=True).download(DEBIAN_PACKAGES)
    return sorted(deb for deb in downloaded if deb.name.partition("_")[0] in DEBIAN_PACKAGES)


def _debian_package(deb: Path) -> Package:
    name, version, rest = unquote(deb.name).split("_")
    architecture = rest.removesuffix(".deb")
    purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}&distro={DEBIAN_SUITE}"
    return Package(name, version, purl, unquote(deb.name), _sha256(deb), None)


def unpack_wheels(architecture: Architecture, root: Path) -> list[Package]:
    """Unpack the pinned Python packages into a new directory, root."""
    shutil.rmtree(root, ignore_errors=True)
    packages = []
    for wheel in _download_wheels(architecture):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root)
            (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            fields = email.parser.Parser().parsestr(archive.read(metadata).decode())
        name, version = fields["Name"], fields["Version"]
        purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{version}"
        licence = fields["License-Expression"] or fields["License"]
        packages.append(Package(name, version, purl, wheel.name, _sha256(wheel), licence))
    return packages


def _download_wheels(architecture: Architecture) -> list[Path]:
    """Return the files of the wheels, from the cache or from PyPI."""
    directory = CACHE / "wheels" / f"{architecture.name}-{_sha256(REQUIREMENTS)[:16]}"
    with locked_cache():
        if not directory.exists():
            partial = directory.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            command: list[str | Path] = [
                *(sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--retries", "5"),
                *("--require-hashes", "--no-deps", "--only-binary=:all:", "-r", REQUIREMENTS, "-d", partial),
                *("--implementation", "cp", "--python-version", PYTHON),
                *(f"--platform={platform}" for platform in architecture.wheel_platforms),
            ]
            subprocess.run(command, check=True)
            for old in set(directory.parent.glob(f"{architecture.name}-*")) - {partial}:
                shutil.rmtree(old)
            partial.rename(directory)
        return sorted(directory.glob("*.whl"))


def libraries(architecture: Architecture, root: Path) -> Path:
    """Return the directory of the libraries below root."""
    return root / "usr/lib" / architecture.multiarch


def run_python(root: Path, *arguments: object) -> str:
    """Run the Python in root, which is for this machine; return its output."""
    directory = libraries(NATIVE, root)
    linker = directory / LINKERS[NATIVE.name]
    command = [linker, "--library-path", directory, root / f"usr/bin/python{PYTHON}", "-S", "-B"]
    done = subprocess.run(
        [*map(str, (*command, *arguments))],
        check=True,
        env={"PYTHONHOME": str(root / "usr")},
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
