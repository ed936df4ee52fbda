"""Makes Debian packages of the one file, in dist/: with a service for systemd, and a configuration.

They depend on nothing. debian/ has what dpkg reads; the service is systemd/netmon.service.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from hatchling.builders.utils import get_reproducible_timestamp

from netmon import __version__
from pack import binary, documents
from pack.runtime import ARCHITECTURES
from pack.sources import ROOT

DEBIAN = ROOT / "pack/debian"
SERVICE = ROOT / "pack/systemd/netmon.service"
SCRIPTS = ("postinst", "prerm", "postrm")
# Here it is a user's command, too (validate, schema, check), hence not in sbin.
PROGRAM = "usr/bin/netmon"
DOCUMENTATION = "usr/share/doc/netmon"
MANUAL = ROOT / "docs/netmon.1"
MAINTAINER = "The netmon authors <nobody@netmon.invalid>"  # Debian wants an address: there is none


def build(name: str, directory: Path) -> Path:
    """Build one architecture's package, with its one file; return it. The same parts make the same bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        return package(binary.build(name, Path(temporary)), name, directory)


def package(one_file: Path, name: str, directory: Path) -> Path:
    """Make the package of an architecture's one file; return it."""
    architecture = ARCHITECTURES[name].debian
    files = _files(one_file)
    size = sum(-(-len(data) // 1024) for data in files.values())
    control = (DEBIAN / "control").read_text()
    control = control.format(version=__version__, architecture=architecture, maintainer=MAINTAINER, size=size)
    files |= {"DEBIAN/control": control.encode(), "DEBIAN/conffiles": (DEBIAN / "conffiles").read_bytes()}
    files |= {f"DEBIAN/{script}": (DEBIAN / script).read_bytes() for script in SCRIPTS}
    files["DEBIAN/md5sums"] = _md5sums(files)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"netmon_{__version__}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as root:
        _lay(files, Path(root))
        # Most of it is compressed already; gzip, unlike xz, has no threads whose number would tell in the bytes.
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, str(path)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(get_reproducible_timestamp())}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return path


def _files(one_file: Path) -> dict[str, bytes]:
    """Return what is installed, by path."""
    return {
        PROGRAM: one_file.read_bytes(),
        "usr/lib/systemd/system/netmon.service": SERVICE.read_bytes(),
        "etc/netmon/netmon.yaml": (DEBIAN / "netmon.yaml").read_bytes(),
        "usr/share/lintian/overrides/netmon": (DEBIAN / "lintian-overrides").read_bytes(),
        "usr/share/man/man1/netmon.1.gz": _gzip(MANUAL.read_bytes()),
        **{f"{DOCUMENTATION}/{name}": data for name, data in _documentation(one_file).items()},
    }


def _documentation(one_file: Path) -> dict[str, bytes]:
    changelog = documents.debian_changelog(
        (ROOT / "CHANGELOG.md").read_text(), "netmon", MAINTAINER, get_reproducible_timestamp()
    )
    with zipfile.ZipFile(one_file) as archive:
        materials = archive.read("netmon.cdx.json")
        names = [name for name in archive.namelist() if name.startswith("LICENSES/")]
        licences = {name.removeprefix("LICENSES/"): archive.read(name).decode() for name in names}
    return {
        **{page.name: page.read_bytes() for page in sorted((ROOT / "docs").glob("*.md"))},
        "changelog.gz": _gzip(changelog.encode()),
        "copyright": documents.copyright_file((DEBIAN / "copyright").read_text(), licences).encode(),
        "netmon.cdx.json": materials,
    }


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def _md5sums(files: dict[str, bytes]) -> bytes:
    """For `dpkg --verify`."""
    installed = sorted(name for name in files if not name.startswith(("DEBIAN/", "etc/")))
    lines = (f"{hashlib.md5(files[name], usedforsecurity=False).hexdigest()}  {name}\n" for name in installed)
    return "".join(lines).encode()


def _lay(files: dict[str, bytes], root: Path) -> None:
    """Write the files under root, with the modes of Debian's packages, whatever the umask."""
    executable = {PROGRAM, *(f"DEBIAN/{script}" for script in SCRIPTS)}
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name in executable else 0o644)
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        directory.chmod(0o755)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what is asked for, or all."""
    parser = argparse.ArgumentParser(prog="build.py deb", description="Makes Debian packages, in dist/.")
    targets = binary.parse_targets(parser, arguments)
    if not shutil.which("dpkg-deb"):
        parser.error("there is no dpkg-deb: install dpkg")
    binary.build_in_dist(targets, build)


if __name__ == "__main__":
    main()
