"""hatchling's build hook: compiles the BPF objects, and bundles libbpf with a platform's wheel.

pip runs it for a checkout, for `git+https://...` and for an sdist. An sdist brings the compiled objects and the
sources of libbpf. A checkout brings neither: its objects are compiled here, and its wheel uses the system's libbpf.

NETMON_WHEEL names the platform of a wheel (pack/libbpf.py), or is `any` for a wheel that uses the system's libbpf.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from pack import bpf_objects, libbpf, sbom
from pack.paths import BPF_OBJECTS, BUILD, LIBBPF, ROOT, THIRD_PARTY

ANY = "any"
IS_SDIST = (ROOT / "PKG-INFO").exists()


def chosen_target() -> str:
    """Return the name of the platform to build for, or ANY."""
    chosen = os.environ.get("NETMON_WHEEL")
    if chosen is None:
        chosen = (IS_SDIST and THIRD_PARTY.exists() and libbpf.host_target()) or ANY
    if chosen != ANY and chosen not in libbpf.TARGETS:
        raise ValueError(f"NETMON_WHEEL={chosen}: not one of {', '.join((*libbpf.TARGETS, ANY))}")
    return chosen


class NetmonBuildHook(BuildHookInterface[Any]):
    """The module's only build hook; hatchling finds it by its base class."""

    def dependencies(self) -> list[str]:
        return [libbpf.ZIGLANG] if self.target_name == "wheel" and chosen_target() != ANY else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare a build.

        Args:
            version: "standard", or "editable" for a wheel that points to the tree.
            build_data: hatchling's, to be added to.
        """
        self._compile_objects(editable=version == "editable")
        if version == "editable":
            return
        if self.target_name == "sdist" and not THIRD_PARTY.exists():
            self.app.display_warning("without the sources of libbpf: only build.py wheel bundles them with the sdist")
        if self.target_name == "wheel" and (name := chosen_target()) != ANY:
            self._bundle(libbpf.TARGETS[name], BUILD / "bundled" / name, build_data)

    def _compile_objects(self, *, editable: bool) -> None:
        if IS_SDIST and all(path.exists() for path in BPF_OBJECTS):
            return
        try:
            bpf_objects.compile_objects()
        except bpf_objects.CompileError as error:
            if editable:  # much can be done in a tree without objects; `netmon run` names the command that makes them
                self.app.display_warning(str(error))
            else:
                self.app.abort(str(error))

    def _bundle(self, target: libbpf.Target, directory: Path, build_data: dict[str, Any]) -> None:
        if not THIRD_PARTY.exists():
            self.app.abort(f"{THIRD_PARTY.name}/ is missing, the sources of libbpf: run python3 build.py wheel")
        library, materials = directory / LIBBPF.name, directory / sbom.FILE_NAME
        libbpf.compile_libbpf(target, library)
        core = self.metadata.core
        materials.write_text(sbom.make_sbom(self.metadata.version, core.license_expression))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{target.tag}"
        build_data["force_include"][str(library)] = str(LIBBPF)
        build_data["sbom_files"].append(str(materials))
