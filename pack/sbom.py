"""Makes SBOMs, software bills of materials (CycloneDX, PEP 770), of wheels and of the single-file executable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from pack.third_party import SOURCES

FILE_NAME = "netmon.cdx.json"


class Component(Protocol):
    """A part that the SBOM lists."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def purl(self) -> str: ...
    @property
    def archive(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def licence(self) -> str | None: ...


def make_sbom(version: str, licence: str, others: Sequence[Component] = ()) -> str:
    """Return an SBOM as JSON.

    Args:
        version: netmon's version.
        licence: netmon's licence, as SPDX.
        others: The components besides the sources of libbpf.
    """
    components: tuple[Component, ...] = (*SOURCES, *others)
    purl = f"pkg:pypi/netmon-bpf@{version}"
    netmon = {
        "type": "library",
        "bom-ref": purl,
        "name": "netmon-bpf",
        "version": version,
        "licenses": [{"expression": licence}],
        "purl": purl,
    }
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": netmon},
        "components": [_component(component) for component in components],
        "dependencies": [{"ref": purl, "dependsOn": [component.purl for component in components]}],
    }
    return json.dumps(document, indent=2) + "\n"


def _component(component: Component) -> dict[str, object]:
    licences = {"licenses": [{"expression": component.licence}]} if component.licence else {}
    return {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        **licences,
        "purl": component.purl,
        "properties": [
            {"name": "netmon:source:archive", "value": component.archive},
            {"name": "netmon:source:sha256", "value": component.sha256},
        ],
    }
