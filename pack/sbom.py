"""The wheel's bill of materials (CycloneDX, PEP 770): what was compiled into the library that it bundles."""

from __future__ import annotations

import json

from pack.sources import SOURCES, Source


def make_sbom(version: str, licence: str) -> str:
    """version, licence: netmon's own."""
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
        "components": [_component(source) for source in SOURCES],
        "dependencies": [{"ref": purl, "dependsOn": [source.purl for source in SOURCES]}],
    }
    return json.dumps(document, indent=2) + "\n"


def _component(source: Source) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": source.purl,
        "name": source.name,
        "version": source.version,
        "licenses": [{"expression": source.licence}],
        "purl": source.purl,
        "properties": [
            {"name": "netmon:source:archive", "value": source.archive},
            {"name": "netmon:source:sha256", "value": source.sha256},
        ],
    }
