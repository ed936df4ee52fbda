"""Workloads: named by files that this test makes where runtimes keep theirs. netmon has given up its rights by then."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netmon.capabilities import capability_mask
from tests.kernel.test_confinement import NOBODY, check_rights
from tests.support import runtimes
from tests.support.attacks import CGROUPS, cgroup_at
from tests.support.connecting_process import CONNECT_ONCE, connected, process_of
from tests.support.netmon_command import Netmon
from tests.support.strategies import ID, OTHER_ID
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

ROOT = Path("/")
TOP = ("run/containerd", "var/lib/docker", "var/log/containers")
POD_SLICE = f"kubepods-burstable-pod{runtimes.POD_UID.replace('-', '_')}.slice"
POD_CGROUP = f"kubepods.slice/kubepods-burstable.slice/{POD_SLICE}"


@pytest.fixture
def _directories() -> Iterator[None]:
    """Directories of runtimes, as readable as those are; removed with all that is in them."""
    for directory in TOP:
        (ROOT / directory).mkdir(parents=True)
    (ROOT / "var/lib/docker").chmod(0o710)
    (ROOT / "run/containerd").chmod(0o700)
    yield
    for directory in TOP:
        shutil.rmtree(ROOT / directory)


def process_in(netmon: Netmon, directory: Path, port: str) -> dict[str, Any]:
    """Connect by a process in a cgroup; return what netmon reports of it."""
    script = f"echo 0 > {directory}/cgroup.procs; exec {CONNECT_ONCE} {port}"
    with netmon.watch() as seen, connected(["sh", "-c", script]) as subject:
        pass
    return process_of(seen, subject.pid)


@pytest.mark.usefixtures("_directories")
@pytest.mark.parametrize(
    ("arguments", "capabilities"),
    [([], 0), (["--user", NOBODY], capability_mask("DAC_READ_SEARCH"))],
    ids=["root", "nobody"],
)
def test_processes_in_containers_have_their_names(arguments: list[str], capabilities: int, port: str) -> None:
    in_pod = runtimes.containerd(ROOT, ID)
    in_docker = runtimes.docker(ROOT, OTHER_ID)
    late = "c" * 64
    with (
        Netmon("--workload", *arguments) as netmon,
        cgroup_at(f"{POD_CGROUP}/cri-containerd-{ID}.scope") as pod,
        cgroup_at(f"workload.slice/docker-{OTHER_ID}.scope") as docker,
        cgroup_at(f"{POD_CGROUP}/cri-containerd-{late}.scope") as pod_without_runtime,
        cgroup_at("system.slice/nginx.service") as service,
    ):
        check_rights(netmon, capabilities)
        seen = [process_in(netmon, directory, port) for directory in (pod, docker, service, pod_without_runtime)]
        runtimes.kubelet(ROOT, late)
        found: list[dict[str, Any]] = []

        def is_found() -> bool:
            found.append(process_in(netmon, pod_without_runtime, port)["workload"])
            return "pod" in found[-1]

        wait_until(is_found)
        check_rights(netmon, capabilities)
        ended = netmon.stop()
    assert [process.get("container_id") for process in seen] == [ID, OTHER_ID, None, late]
    assert [process["workload"] for process in seen] == [
        {**in_pod, "user": "root"},
        {**in_docker, "user": "root"},
        {"unit": "nginx.service", "user": "root"},
        {"pod_uid": runtimes.POD_UID, "user": "root"},
    ]
    assert found[-1] == {**runtimes.POD, "pod_uid": runtimes.POD_UID, "user": "root"}
    assert "workload unknown" in ended.stderr


@contextmanager
def version_1(directory: Path) -> Iterator[None]:
    """Mount the controller of pids as a hierarchy of version 1."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", "pids", "none", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def test_a_container_that_only_version_1_knows(tmp_path: Path, port: str) -> None:
    """On a hybrid host: in version 2 the process is in its service, or in the root."""
    name = f"docker/{ID}"
    with version_1(tmp_path / "pids"):
        directory = tmp_path / "pids" / name
        directory.mkdir(parents=True)
        try:
            with Netmon("--context") as netmon, cgroup_at("system.slice/web.service") as service:
                script = f"echo 0 > {directory}/cgroup.procs; exec {CONNECT_ONCE} {port}"
                in_service = f"echo 0 > {service}/cgroup.procs; {script}"
                seen = []
                for text in (script, in_service, f"exec {CONNECT_ONCE} {port}"):
                    with netmon.watch() as events, connected(["sh", "-c", text]) as subject:
                        pass
                    seen.append(process_of(events, subject.pid))
                seen.append(process_in(netmon, service, port))
        finally:
            directory.rmdir()
            directory.parent.rmdir()
    here = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].rstrip("\n")
    containers = [(process.get("container_id"), process["cgroup"]) for process in seen]
    assert containers == [(ID, f"/{name}")] * 2 + [(None, here), (None, f"/{service.relative_to(CGROUPS)}")]
