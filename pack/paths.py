"""The paths that several files of pack/, and build.py, share.

Only the standard library is imported here: build.py runs before anything is installed.
"""

from __future__ import annotations

from pathlib import Path

from netmon.kernel import BUNDLED_LIBBPF, FULL_OBJECT, OBJECTS

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
DIST = ROOT / "dist"
# In the tree, so that the sdist carries the sources and needs no download.
THIRD_PARTY = ROOT / "third_party"

SOURCE = ROOT / "src"
PACKAGE = SOURCE / "netmon"
# Directory of the BPF objects and of the bundled libbpf, relative to src/ and to what is installed.
KERNEL_PACKAGE = Path("netmon/kernel")

BPF_OBJECT = SOURCE / KERNEL_PACKAGE / FULL_OBJECT
BPF_OBJECTS = tuple(SOURCE / KERNEL_PACKAGE / name for name in OBJECTS.values())
BPF_OBJECT_WITH_DEBUG = BUILD / FULL_OBJECT  # the layout of records is read from its debug information
LIBBPF = KERNEL_PACKAGE / BUNDLED_LIBBPF

MANUAL = ROOT / "docs/netmon.1"
SERVICE = ROOT / "pack/systemd/netmon.service"
PROMETHEUS = ROOT / "pack/prometheus"
METRICS_SERVICE = ROOT / "pack/systemd/netmon-metrics.service"
FORWARD_SERVICE = ROOT / "pack/systemd/netmon-forward.service"


def package_inputs(*others: str) -> list[Path]:
    """Return the files of the tree that wheels and executables are made of, and those in other directories."""
    names = ("pack", "src/netmon", "LICENSES", *others)
    paths = [path for name in names for path in sorted((ROOT / name).rglob("*"))]
    return [*(path for path in paths if path.is_file() and path.suffix != ".pyc"), ROOT / "pyproject.toml"]
