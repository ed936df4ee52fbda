"""The container image, built from the single-file executable; and the DaemonSet, checked against Kubernetes' schema."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from netmon.cli.main import make_parser
from netmon.cli.status import status
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
    volume, *_ = volumes = spec["template"]["spec"]["volumes"]
    mount, control = container["volumeMounts"]
    assert [mount["name"], control["name"]] == [one["name"] for one in volumes]
    (variable,) = container["env"]
    assert (variable["name"], variable["value"].rpartition("/")[0]) == ("NETMON_CONTROL", control["mountPath"])
    for probe in ("livenessProbe", "readinessProbe"):
        program, *arguments = container[probe]["exec"]["command"]
        assert program == "/netmon"
        assert vars(make_parser(arguments).parse_args(arguments))["command"] is status
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


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_sidecar_fits_netmon_and_has_no_rights(version: str) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", ROOT / "pack/kubernetes/forward"], capture_output=True, text=True, check=True
    ).stdout
    manifests = {part["kind"]: part for part in yaml.safe_load_all(made)}
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)
    spec = manifests["DaemonSet"]["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in spec["containers"]}
    netmon, sidecar = containers["netmon"], containers["forward"]
    assert netmon["image"] == sidecar["image"]
    assert netmon["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "PERFMON"]}
    assert sidecar["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert sidecar["securityContext"]["runAsNonRoot"]
    mounts = {mount["mountPath"]: mount for mount in sidecar["volumeMounts"]}
    assert mounts["/run/netmon"]["readOnly"]
    assert {mount["name"] for one in containers.values() for mount in one["volumeMounts"]} == {
        volume["name"] for volume in spec["volumes"]
    }
    configuration = Config.from_dict(yaml.safe_load(manifests["ConfigMap"]["data"]["netmon.yaml"]))
    assert configuration.run is not None and configuration.run.outputs is not None
    (path,) = [output.path for output in configuration.run.outputs if output.type == "unix"]
    assert path == f"{mounts['/run/netmon']['mountPath']}/events.sock"
    make_parser(["forward"]).parse_args(sidecar["args"])
