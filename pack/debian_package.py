"""Makes Debian packages, in dist/: the single-file executable with a systemd service and a configuration.

They depend on no other package. debian/ holds what dpkg reads; the service is systemd/netmon.service.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from hatchling.builders.utils import get_reproducible_timestamp

from netmon import __version__
from pack import executable, licences, sbom
from pack.debian_changelog import debian_changelog
from pack.paths import FORWARD_SERVICE, MANUAL, METRICS_SERVICE, PROMETHEUS, ROOT, SERVICE
from vm.architecture import ARCHITECTURES

DEBIAN = ROOT / "pack/debian"
SCRIPTS = ("postinst", "prerm", "postrm")
# In bin, not in sbin: users call it, too (validate, schema, check).
PROGRAM = "usr/bin/netmon"
DOCUMENTATION = "usr/share/doc/netmon"
MAINTAINER = "The netmon authors <nobody@netmon.invalid>"  # Debian requires an address; there is none


def build(name: str, directory: Path) -> Path:
    """Build one architecture's executable, and its package. The same parts make the same bytes.

    Args:
        name: An architecture of ARCHITECTURES.
        directory: Where to put the package.

    Returns:
        The package.
    """
    with tempfile.TemporaryDirectory() as temporary:
        return package(executable.build(name, Path(temporary)), name, directory)


def package(program: Path, name: str, directory: Path) -> Path:
    """Make the package of an architecture's executable; return it."""
    architecture = ARCHITECTURES[name].debian
    files = _files(program)
    size = sum(-(-len(data) // 1024) for data in files.values())
    control = (DEBIAN / "control").read_text()
    control = control.format(version=__version__, architecture=architecture, maintainer=MAINTAINER, size=size)
    files |= {"DEBIAN/control": control.encode(), "DEBIAN/conffiles": (DEBIAN / "conffiles").read_bytes()}
    files |= {f"DEBIAN/{script}": (DEBIAN / script).read_bytes() for script in SCRIPTS}
    files["DEBIAN/md5sums"] = _md5sums(files)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"netmon_{__version__}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as root:
        _lay_out(files, Path(root))
        # Most of it is compressed already. xz would make other bytes with another number of threads; gzip has none.
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, str(path)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(get_reproducible_timestamp())}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return path


def _files(program: Path) -> dict[str, bytes]:
    """Return the installed files, by path."""
    return {
        PROGRAM: program.read_bytes(),
        "usr/lib/systemd/system/netmon.service": SERVICE.read_bytes(),
        "usr/lib/systemd/system/netmon-metrics.service": METRICS_SERVICE.read_bytes(),
        **{f"usr/share/netmon/{path.name}": path.read_bytes() for path in PROMETHEUS.iterdir()},
        "usr/lib/systemd/system/netmon-forward.service": FORWARD_SERVICE.read_bytes(),
        "etc/default/netmon-forward": (DEBIAN / "netmon-forward.default").read_bytes(),
        "etc/netmon/netmon.yaml": (DEBIAN / "netmon.yaml").read_bytes(),
        "usr/share/lintian/overrides/netmon": (DEBIAN / "lintian-overrides").read_bytes(),
        "usr/share/man/man1/netmon.1.gz": _gzip(MANUAL.read_bytes()),
        **{f"{DOCUMENTATION}/{name}": data for name, data in _documentation(program).items()},
    }


def _documentation(program: Path) -> dict[str, bytes]:
    changelog = debian_changelog(
        (ROOT / "CHANGELOG.md").read_text(), "netmon", MAINTAINER, get_reproducible_timestamp()
    )
    prefix = f"{licences.DIRECTORY}/"
    with zipfile.ZipFile(program) as archive:
        materials = archive.read(sbom.FILE_NAME)
        names = [name for name in archive.namelist() if name.startswith(prefix)]
        texts = {name.removeprefix(prefix): archive.read(name).decode() for name in names}
    return {
        **{page.name: _page(page.read_text()).encode() for page in sorted((ROOT / "docs").glob("*.md"))},
        "changelog.gz": _gzip(changelog.encode()),
        "copyright": licences.debian_copyright((DEBIAN / "copyright").read_text(), texts).encode(),
        sbom.FILE_NAME: materials,
    }


def _page(text: str) -> str:
    """Return a page of the documentation without links to files that are in the tree alone: their texts stay."""
    return re.sub(r"\[([^]]*)\]\(\.\./[^)]*\)", r"\1", text)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def _md5sums(files: dict[str, bytes]) -> bytes:
    """Return the sums that `dpkg --verify` compares."""
    installed = sorted(name for name in files if not name.startswith(("DEBIAN/", "etc/")))
    lines = (f"{hashlib.md5(files[name], usedforsecurity=False).hexdigest()}  {name}\n" for name in installed)
    return "".join(lines).encode()


def _lay_out(files: dict[str, bytes], root: Path) -> None:
    """Write the files under root, with the modes of Debian's packages whatever the umask."""
    executables = {PROGRAM, *(f"DEBIAN/{script}" for script in SCRIPTS)}
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name in executables else 0o644)
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        directory.chmod(0o755)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build for one architecture, or for all."""
    parser = argparse.ArgumentParser(prog="build.py deb", description="Makes Debian packages.")
    if not shutil.which("dpkg-deb"):
        parser.error("dpkg-deb is missing: install dpkg")
    executable.build_for_targets(parser, arguments, build)


if __name__ == "__main__":
    main()
