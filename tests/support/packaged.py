"""The single-file executable in guests whose contents are systemd: it is in the Debian package."""

from __future__ import annotations

import subprocess
from pathlib import Path

DIRECTORY = Path("/opt/netmon/deb")


def extract_program(directory: Path) -> Path:
    """Unpack the Debian package into a directory; return the executable."""
    (package,) = DIRECTORY.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, directory], check=True)
    return directory / "usr/bin/netmon"
