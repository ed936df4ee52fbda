"""The single-file executable as the DaemonSet runs it: its capabilities, and a read-only root with nothing else in it.

The runtime's seccomp profile is not part of it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from netmon.capabilities import capability_mask
from tests.support.json_events import types_of
from tests.support.packaged import extract_program
from tests.support.procfs import status_of
from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE

# These contents, because the executable is in the Debian package.
pytestmark = [pytest.mark.guest("systemd"), pytest.mark.only_on("6.12")]

# hostPID: /proc has the node's processes.
LAY_OUT = """
mount -t tmpfs tmpfs "$0" && mkdir -p "$0/proc" "$0/sys" "$0/etc/netmon" &&
cp "$1" "$0/netmon" && cp "$2" "$0/etc/netmon/netmon.yaml" &&
mount -t proc proc "$0/proc" && mount -t sysfs -o ro sysfs "$0/sys" && mount -o remount,ro "$0" &&
shift 2 && exec "$@"
"""


def without(mask: int) -> str:
    """Return the names of all capabilities that are not in the mask."""
    every = (1 << int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1) - 1
    said = subprocess.run(["capsh", f"--decode={every & ~mask:x}"], check=True, capture_output=True, text=True).stdout
    return said.strip().partition("=")[2]


def test_it_reports_connections_of_the_node(tmp_path: Path) -> None:
    program = extract_program(tmp_path / "package")
    parts = {part["kind"]: part for part in yaml.safe_load_all(Path("pack/container/daemonset.yaml").read_text())}
    pod = parts["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert (pod["hostPID"], context["readOnlyRootFilesystem"], context["runAsUser"]) == (True, True, 0)
    assert (context["capabilities"]["drop"], context["allowPrivilegeEscalation"]) == (["ALL"], False)
    mask = capability_mask(*context["capabilities"]["add"])
    configuration = tmp_path / "netmon.yaml"
    configuration.write_text(parts["ConfigMap"]["data"]["netmon.yaml"])
    root = tmp_path / "root"
    root.mkdir()

    netmon = subprocess.Popen(
        [
            *("unshare", "--mount", "--net", "--uts", "--ipc", "--cgroup", "sh", "-c", LAY_OUT),
            *(root, program, configuration),
            *("capsh", f"--chroot={root}", f"--drop={without(mask)}", "--no-new-privs", "--shell=/netmon"),
            *("--", *container["args"]),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert netmon.stderr is not None
    assert netmon.stderr.readline() == "netmon: ready\n"
    status = status_of(netmon.pid)
    assert int(status["CapBnd"][0], 16) == mask
    assert {int(status[name][0], 16) for name in ("CapEff", "CapPrm")} == {capability_mask("BPF")}  # for reloads
    assert (status["Uid"][0], status["NoNewPrivs"]) == ("0", ["1"])
    with pytest.raises(OSError, match="Read-only"):
        Path(f"/proc/{netmon.pid}/root/file").write_text("")
    cookie = refused_connection()
    netmon.terminate()
    out, err = netmon.communicate(timeout=DEADLINE)
    assert netmon.returncode == 0, err
    seen = [json.loads(line) for line in out.splitlines()]
    assert types_of([event for event in seen if event["network_event"]["cookie"] == cookie]) == ["Establish", "Close"]
