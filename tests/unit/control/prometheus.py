"""Prometheus as Debian has it, without installing it: the package would start a service on this host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pack.once import once
from pack.paths import BUILD
from vm.archive import Archive, locked_cache

SUITE = "bookworm"
DIRECTORY = BUILD / "prometheus"


def program(name: str) -> Path:
    """Return a program of the package, prometheus or promtool, downloaded at first."""
    once([DIRECTORY], [SUITE], _unpack)
    return DIRECTORY / "usr/bin" / name


def _unpack() -> None:
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    with locked_cache():
        (package,) = Archive(SUITE).download_alone(["prometheus"], DIRECTORY)
    subprocess.run(["dpkg-deb", "--extract", package, DIRECTORY], check=True)
    package.unlink()
