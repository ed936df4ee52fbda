"""hatchling's build hook: puts libbpf into a wheel, and tells what is in it.

NETMON_WHEEL names the platform (pack/bundle.py), or says `any` for a wheel that takes the system's libbpf. Without it
an sdist is built for this host, and the source tree for any.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pack import bundle, sbom
from pack.sources import ROOT, THIRD_PARTY

ANY = "any"
BPF_OBJECTS = [ROOT / "src/netmon/kernel" / name for name in ("netmon.bpf.o", "netmon-plain.bpf.o")]


def chosen_target() -> str:
    """Return the name of the platform to build for, or ANY."""
    chosen = os.environ.get("NETMON_WHEEL")
    if chosen is None:
        is_sdist = (ROOT / "PKG-INFO").exists()
        chosen = (is_sdist and bundle.host_target()) or ANY
    if chosen != ANY and chosen not in bundle.TARGETS:
        raise ValueError(f"NETMON_WHEEL={chosen}: not one of {', '.join((*bundle.TARGETS, ANY))}")
    return chosen


class NetmonBuildHook(BuildHookInterface[Any]):
    """Found by hatchling as the module's only build hook."""

    def dependencies(self) -> list[str]:
        return [bundle.ZIGLANG] if self.target_name == "wheel" and chosen_target() != ANY else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """version: "standard", or "editable" for a wheel that points to the tree."""
        if version == "editable":
            return
        for needed in (*BPF_OBJECTS, THIRD_PARTY):
            if not needed.exists():
                raise FileNotFoundError(f"{needed.relative_to(ROOT)} is missing: run build.py wheel")
        if self.target_name == "wheel" and (name := chosen_target()) != ANY:
            self._bundle(bundle.TARGETS[name], ROOT / "build/bundled" / name, build_data)

    def _bundle(self, target: bundle.Target, directory: Path, build_data: dict[str, Any]) -> None:
        library, materials = directory / "libbpf-netmon.so", directory / "netmon.cdx.json"
        bundle.compile_libbpf(target, library)
        core = self.metadata.core
        materials.write_text(sbom.make_sbom(self.metadata.version, core.license_expression))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{target.tag}"
        build_data["force_include"][str(library)] = "netmon/kernel/libbpf-netmon.so"
        build_data["sbom_files"].append(str(materials))
