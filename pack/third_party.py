"""Unpacks third_party/: the pinned sources of libbpf, libelf and zlib, from Debian's source packages."""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pack.paths import BUILD, THIRD_PARTY

DEBIAN_SUITE = "trixie"


class Source(NamedTuple):
    """One release of one project: its archive as Debian ships it, and the files that netmon uses."""

    name: str
    version: str
    archive: str
    sha256: str
    licence: str  # SPDX
    purl: str
    patterns: tuple[str, ...]  # of the files used, licences included

    @property
    def directory(self) -> Path:
        return THIRD_PARTY / self.name


LIBBPF = Source(
    name="libbpf",
    version="1.5.0",
    archive="libbpf_1.5.0.orig.tar.gz",
    sha256="53492aff6dd47e4da04ef5e672d753b9743848bdb38e9d90eafbe190b7983c44",
    licence="LGPL-2.1-only OR BSD-2-Clause",
    purl="pkg:github/libbpf/libbpf@v1.5.0",
    patterns=("src/*.[ch]", "src/libbpf.map", "include/*", "LICENSE*"),
)
ELFUTILS = Source(
    name="elfutils",
    version="0.192",
    archive="elfutils_0.192.orig.tar.bz2",
    sha256="616099beae24aba11f9b63d86ca6cc8d566d968b802391334c91df54eab416b4",
    licence="GPL-2.0-or-later OR LGPL-3.0-or-later",
    purl="pkg:generic/elfutils@0.192",
    patterns=("lib/*.[ch]", "libelf/*.[ch]", "libelf/Makefile.am", "COPYING*"),
)
ZLIB = Source(
    name="zlib",
    version="1.3.1",
    archive="zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
    sha256="60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
    licence="Zlib",
    purl="pkg:generic/zlib@1.3.1",
    patterns=("*.[ch]", "LICENSE"),
)
SOURCES = (LIBBPF, ELFUTILS, ZLIB)


class SourceError(Exception):
    """A source archive differs from the pinned one."""


def unpack_all() -> None:
    """Unpack every source into third_party/. Archives that are not in the cache are downloaded."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "third_party.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the guests' packages are built at the same time
        for source in SOURCES:
            stamp = source.directory / ".sha256"
            if not stamp.exists() or stamp.read_text() != source.sha256:
                shutil.rmtree(source.directory, ignore_errors=True)
                _unpack(fetch(source), source)
                stamp.write_text(source.sha256)


def fetch(source: Source) -> Path:
    """Return a source's archive, from the cache or from Debian.

    Raises:
        SourceError: The archive is not the pinned one.
    """
    # Imported here because an sdist builds without Debian's archive.
    from vm.archive import CACHE, Archive, locked_cache

    kept = CACHE / "sources" / source.archive
    with locked_cache():
        if not kept.exists() or _sha256(kept) != source.sha256:
            downloaded = Archive(DEBIAN_SUITE, sources=True).source_file(source.name, source.archive)
            if (found := _sha256(downloaded)) != source.sha256:
                raise SourceError(f"{source.archive} has the SHA-256 {found}, not {source.sha256}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            downloaded.replace(kept)
    return kept


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unpack(archive: Path, source: Source) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            name = "/".join(PurePosixPath(member.name).parts[1:])
            if member.isfile() and any(_matches(name, pattern) for pattern in source.patterns):
                path = source.directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                data = tar.extractfile(member)
                assert data is not None
                path.write_bytes(data.read())


def _matches(name: str, pattern: str) -> bool:
    """Match a file name. A * crosses directories only at the end of a pattern."""
    if not pattern.endswith("/*") and name.count("/") != pattern.count("/"):
        return False
    return fnmatch.fnmatchcase(name, pattern)
