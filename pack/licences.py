"""Collects the licences of everything in the single-file executable, and makes a Debian package's copyright file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pack.paths import ROOT

DIRECTORY = "LICENSES"  # in the tree, and in the executable's archive
RULE = "=" * 78

# The texts that every Debian system has: our file name, and the name in /usr/share/common-licenses.
COMMON_LICENCES = {
    "elfutils-COPYING": "GPL-3",
    "elfutils-COPYING-GPLV2": "GPL-2",
    "elfutils-COPYING-LGPLV3": "LGPL-3",
    "libbpf-LICENSE.LGPL-2.1": "LGPL-2.1",
    "netmon-GPL-2.0-only": "GPL-2",
    "orjson-LICENSE-APACHE": "Apache-2.0",
    "orjson-LICENSE-MPL-2.0": "MPL-2.0",
}


def collect(debian: Path, debian_packages: Iterable[str], wheels: Path) -> dict[str, bytes]:
    """Return licences by file names that begin with their owner's name.

    Args:
        debian: Where Debian's packages were unpacked.
        debian_packages: Their names.
        wheels: Where Python's packages were unpacked.
    """
    import ziglang

    texts = {path.name: path for path in sorted((ROOT / DIRECTORY).iterdir())}
    texts["musl-COPYRIGHT"] = Path(ziglang.__file__).with_name("lib") / "libc/musl/COPYRIGHT"
    for name in debian_packages:
        texts[f"{name}-copyright"] = debian / "usr/share/doc" / name / "copyright"
    for path in sorted(wheels.glob("*.dist-info/licenses/**/*")):
        if path.is_file():
            distribution = path.relative_to(wheels).parts[0].partition("-")[0]
            texts[f"{distribution}-{path.name}"] = path
    return {name: path.read_bytes() for name, path in texts.items()}


def debian_copyright(introduction: str, licences: Mapping[str, str]) -> str:
    """Return the introduction, followed by each licence's name and text. Equal texts are printed once."""
    names: dict[str, list[str]] = {}
    for name, text in licences.items():
        if common := COMMON_LICENCES.get(name):
            text = f"On Debian systems: /usr/share/common-licenses/{common}"
        names.setdefault(text.strip("\n"), []).append(name)
    parts = [f"{RULE}\n{', '.join(alike)}\n{RULE}\n\n{text}\n" for text, alike in names.items()]
    return "\n".join([introduction, *parts])
