"""The container image, built from the single-file executable; and the DaemonSet, checked against Kubernetes' schema."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from netmon.config import Config
from pack.paths import ROOT

CONTAINER = ROOT / "pack/container"
# The oldest and the newest version that kubernetes_validate has a schema of.
VERSIONS = ("1.25", "1.37")


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """By kind."""
    return {part["kind"]: part for part in yaml.safe_load_all((CONTAINER / "daemonset.yaml").read_text())}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid_by_kubernetes_schema(version: str, manifests: dict[str, dict[str, Any]]) -> None:
    assert list(manifests) == ["Namespace", "ConfigMap", "DaemonSet"]
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)
    daemon_set = manifests["DaemonSet"]
    wrong = {**daemon_set, "spec": {**daemon_set["spec"], "hostPID": True}}
    with pytest.raises(kubernetes_validate.ValidationError, match="hostPID"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_manifests_fit_each_other(manifests: dict[str, dict[str, Any]]) -> None:
    spec = manifests["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (container,) = spec["template"]["spec"]["containers"]
    (volume,) = spec["template"]["spec"]["volumes"]
    (mount,) = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
    namespaces = {manifests[kind]["metadata"]["namespace"] for kind in ("ConfigMap", "DaemonSet")}
    assert namespaces == {manifests["Namespace"]["metadata"]["name"]}
    (name, text), *_ = manifests["ConfigMap"]["data"].items()
    assert container["args"] == ["run", "--config", f"{mount['mountPath']}/{name}"]
    Config.from_dict(yaml.safe_load(text))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may build without a user namespace")
def test_the_image_holds_the_executable_alone(executable: Callable[[str], Path], tmp_path: Path) -> None:
    program = executable("x86_64")
    buildah = [
        *("buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"),
        *("build", "--isolation", "chroot", "--quiet", "--build-arg", f"NETMON={program.name}"),
        *("--file", CONTAINER / "Containerfile", "--tag", f"oci-archive:{tmp_path}/image.tar", program.parent),
    ]
    subprocess.run([*map(str, buildah)], check=True, capture_output=True)
    with tarfile.open(tmp_path / "image.tar") as image:

        def blob(digest: str) -> bytes:
            file = image.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            return file.read()

        index = image.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.loads(index.read())["manifests"][0]["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))["config"]
        (tmp_path / "layer").write_bytes(blob(manifest["layers"][-1]["digest"]))
    assert (config["Entrypoint"], config["Cmd"]) == (["/netmon"], ["run"])
    with tarfile.open(tmp_path / "layer") as layer:
        assert [(member.name, member.mode & 0o777) for member in layer] == [("netmon", 0o755)]
        extracted = layer.extractfile("netmon")
        assert extracted is not None and extracted.read() == program.read_bytes()
