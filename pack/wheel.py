"""Makes what pip installs: wheels for each platform, and the sdist, in dist/."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from netmon import __version__
from pack import sources
from pack.bundle import TARGETS

SDIST = "sdist"


def build(name: str, directory: Path) -> Path:
    """Build one target's wheel, or the sdist; return its file. The same source makes the same bytes."""
    sources.unpack_all()
    kind = SDIST if name == SDIST else "wheel"
    environment = {**os.environ, "NETMON_WHEEL": name} if kind == "wheel" else None
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(directory)],
        cwd=sources.ROOT,
        env=environment,
        check=True,
        stdout=sys.stderr,
    )
    suffix = f"-py3-none-{TARGETS[name].tag}.whl" if name in TARGETS else ".tar.gz"
    return directory / f"netmon_bpf-{__version__}{suffix}"


def unpack(target: str, directory: str) -> None:
    """Unpack a target's wheel into directory, in place of what is there."""
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        zipfile.ZipFile(build(target, Path(temporary))).extractall(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what is asked for, or all."""
    names = (*TARGETS, SDIST)
    parser = argparse.ArgumentParser(prog="build.py wheel", description=__doc__)
    parser.add_argument("--target", choices=(*names, "all"), default="all")
    target = parser.parse_args(arguments).target
    for name in names if target == "all" else (target,):
        path = build(name, sources.ROOT / "dist")
        print(f"{path.relative_to(sources.ROOT)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
