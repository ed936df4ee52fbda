"""The files that container runtimes keep on a host, as far as names are read from them, for a container each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

POD_UID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
POD = {"pod": "web-7d9f8-x2kp4", "namespace": "shop", "container": "nginx"}


def _write(root: Path, path: str, value: Any) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def containerd(root: Path, container_id: str, state: str = "run/containerd", **annotations: str) -> dict[str, str]:
    """As containerd's CRI plugin, for a container of a pod."""
    annotations = annotations or {
        "io.kubernetes.cri.container-name": POD["container"],
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "docker.io/library/nginx:1.29",
        "io.kubernetes.cri.sandbox-name": POD["pod"],
        "io.kubernetes.cri.sandbox-namespace": POD["namespace"],
        "io.kubernetes.cri.sandbox-uid": POD_UID,
    }
    spec = {"ociVersion": "1.2.0", "process": {"env": ["SECRET=1"]}, "annotations": annotations}
    _write(root, f"{state}/io.containerd.runtime.v2.task/k8s.io/{container_id}/config.json", spec)
    return {**POD, "pod_uid": POD_UID, "image": "docker.io/library/nginx:1.29"}


def k3s(root: Path, container_id: str) -> dict[str, str]:
    """As the containerd of k3s and RKE2."""
    return containerd(root, container_id, "run/k3s/containerd")


def nerdctl(root: Path, container_id: str) -> dict[str, str]:
    """As nerdctl, by containerd's annotations."""
    containerd(root, container_id, **{"nerdctl/name": "db", "nerdctl/namespace": "default"})
    return {"container": "db"}


def docker(root: Path, container_id: str) -> dict[str, str]:
    """As Docker, whose containerd has a file without names, too."""
    path = f"run/containerd/io.containerd.runtime.v2.task/moby/{container_id}/config.json"
    _write(root, path, {"ociVersion": "1.2.0"})
    config = {"Image": "registry.example:5000/team/api:v3", "Env": ["SECRET=1"], "Labels": {"maintainer": "me"}}
    _write(root, f"var/lib/docker/containers/{container_id}/config.v2.json", {"Name": "/api", "Config": config})
    return {"container": "api", "image": "registry.example:5000/team/api:v3"}


def cri_dockerd(root: Path, container_id: str) -> dict[str, str]:
    """As Docker, for a container of a pod."""
    labels = {
        "io.kubernetes.pod.name": POD["pod"],
        "io.kubernetes.pod.namespace": POD["namespace"],
        "io.kubernetes.pod.uid": POD_UID,
        "io.kubernetes.container.name": POD["container"],
    }
    config = {"Image": "sha256:" + "a" * 64, "Labels": labels}
    state = {"Name": "/k8s_nginx_web_shop_0", "Config": config}
    _write(root, f"var/lib/docker/containers/{container_id}/config.v2.json", state)
    return {**POD, "pod_uid": POD_UID, "image": "sha256:" + "a" * 64}


def crio(root: Path, container_id: str) -> dict[str, str]:
    """As CRI-O."""
    annotations = {
        "io.kubernetes.container.name": POD["container"],
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.ImageName": "quay.io/library/nginx:1.29",
        "io.kubernetes.pod.name": POD["pod"],
        "io.kubernetes.pod.namespace": POD["namespace"],
        "io.kubernetes.pod.uid": POD_UID,
    }
    path = f"run/containers/storage/overlay-containers/{container_id}/userdata/config.json"
    _write(root, path, {"ociVersion": "1.2.0", "annotations": annotations})
    return {**POD, "pod_uid": POD_UID, "image": "quay.io/library/nginx:1.29"}


def podman(root: Path, container_id: str, file: str = "containers.json") -> dict[str, str]:
    """As Podman, which has the names of all containers in one list."""
    storage = "var/lib/containers/storage/overlay-containers"
    _write(root, f"{storage}/{container_id}/userdata/config.json", {"annotations": {"io.container.manager": "libpod"}})
    metadata = json.dumps({"image-name": "docker.io/library/redis:8", "name": "cache"})
    entries = [{"id": "e" * 64, "names": ["other"]}, {"id": container_id, "names": ["cache"], "metadata": metadata}]
    _write(root, f"{storage}/{file}", entries)
    return {"container": "cache", "image": "docker.io/library/redis:8"}


def podman_rm(root: Path, container_id: str) -> dict[str, str]:
    """As `podman run --rm`."""
    return podman(root, container_id, "volatile-containers.json")


def kubelet(root: Path, container_id: str) -> dict[str, str]:
    """As the kubelet, whatever the runtime is: a link whose name says it all, and which leads nowhere here."""
    logs = root / "var/log/containers"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "other_default_app-{}.log".format("e" * 64)).symlink_to("/nowhere")
    (logs / f"{POD['pod']}_{POD['namespace']}_{POD['container']}-{container_id}.log").symlink_to("/etc/shadow")
    return dict(POD)


def machined(root: Path, unit: str, name: str = "buster-build", kind: str = "container") -> dict[str, str]:
    """As systemd-machined, for systemd-nspawn."""
    machines = root / "run/systemd/machines"
    machines.mkdir(parents=True, exist_ok=True)
    (machines / name).write_text(f"# private\nNAME={name}\nSCOPE={unit}\nCLASS={kind}\n")
    (machines / f"unit:{unit}").symlink_to(name)
    return {"container": name}


LAYOUTS: list[Callable[[Path, str], dict[str, str]]] = [
    *(containerd, k3s, nerdctl, docker, cri_dockerd, crio, podman, podman_rm, kubelet),
]
