"""Makes what pip installs, in dist/: a wheel for each platform, and the sdist."""

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
from pack import third_party
from pack.libbpf import TARGETS
from pack.paths import DIST, ROOT

SDIST = "sdist"


def build(name: str, directory: Path) -> Path:
    """Build a wheel or the sdist. The same source makes the same bytes.

    Args:
        name: A platform of TARGETS, or SDIST.
        directory: Where to put it.

    Returns:
        The file.
    """
    third_party.unpack_all()
    kind = SDIST if name == SDIST else "wheel"
    environment = {**os.environ, "NETMON_WHEEL": name} if kind == "wheel" else None
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(directory)],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=sys.stderr,
    )
    suffix = f"-py3-none-{TARGETS[name].tag}.whl" if name in TARGETS else ".tar.gz"
    return directory / f"netmon_bpf-{__version__}{suffix}"


def unpack(name: str, directory: Path) -> None:
    """Build a platform's wheel and unpack it into directory, which is replaced."""
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        zipfile.ZipFile(build(name, Path(temporary))).extractall(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build one of them, or all."""
    names = (*TARGETS, SDIST)
    parser = argparse.ArgumentParser(prog="build.py wheel", description=__doc__)
    parser.add_argument("--target", choices=(*names, "all"), default="all")
    parser.add_argument(
        "--unpack", type=Path, metavar="DIRECTORY", help="lay out a platform's wheel there as pip would"
    )
    options = parser.parse_args(arguments)
    if options.unpack:
        if options.target not in TARGETS:
            parser.error("--unpack needs a platform as --target")
        unpack(options.target, options.unpack)
        return
    for name in names if options.target == "all" else (options.target,):
        path = build(name, DIST)
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
