"""The command: what it writes where, signals, exit codes; nothing of it stays in the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netmon import Monitor
from tests.support.netmon_command import Netmon
from tests.support.sockets import listen, refused_connection
from tests.support.waiting import DEADLINE, wait_until

NETMON = [sys.executable, "-m", "netmon"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NETMON, *arguments], capture_output=True, text=True, timeout=DEADLINE, env={**os.environ, **environment}
    )


def kernel_objects() -> set[tuple[str, int]]:
    """Return the ids of every BPF program, map and link in the kernel."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    found = set()
    for kind in ("prog", "map", "link"):
        number = ctypes.c_uint32(0)
        while getattr(libbpf, f"bpf_{kind}_get_next_id")(number, ctypes.byref(number)) == 0:
            found.add((kind, number.value))
    return found


def wait_until_freed(before: set[tuple[str, int]]) -> None:
    """Wait until the kernel has no more objects than before: it frees them a little after their last reference."""
    wait_until(lambda: kernel_objects() <= before, "all gone")


@pytest.mark.core
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_prints_the_summary_and_leaves_nothing_in_the_kernel(number: int) -> None:
    before = kernel_objects()
    with Netmon() as netmon:
        assert len(kernel_objects() - before) > 10
        refused_connection()
        ended = netmon.stop(number)
    wait_until_freed(before)
    assert ended.returncode == 0
    assert len(ended.events) == 2
    assert ended.stderr == "netmon: ready\nnetmon: 2 events, 0 lost\n"


@pytest.mark.once
def test_a_closed_standard_output_ends_it_quietly() -> None:
    """Although nothing more happens: both events of the only connection come at once."""
    command = f"{' '.join(NETMON)} run --any-kernel 2> /tmp/stderr | head -1; echo ${{PIPESTATUS[0]}}"
    shell = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: Path("/tmp/stderr").exists() and Path("/tmp/stderr").read_text(), "netmon: ready")
    refused_connection()
    out, _ = shell.communicate(timeout=DEADLINE)
    event, code = out.splitlines()
    assert json.loads(event)["type"] == "NetworkEvent"
    assert code == "0"
    assert Path("/tmp/stderr").read_text() == "netmon: ready\n"


@pytest.mark.once
@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        ("> /dev/full", 1, "netmon: standard output: No space left on device"),
        (">&-", 1, "netmon: standard output is closed"),
        ("> /dev/null 2>&-", 0, ""),
    ],
)
def test_output_that_cannot_be_written(redirection: str, code: int, message: str) -> None:
    command = f"exec {' '.join(NETMON)} run --any-kernel {redirection}"
    before = kernel_objects()
    netmon = subprocess.Popen(["bash", "-c", command], stderr=subprocess.PIPE, text=True)
    assert netmon.stderr is not None
    if code == 0:
        wait_until(lambda: sum(kind == "link" for kind, _ in kernel_objects() - before) >= 4, "netmon attached")
        netmon.terminate()
    else:
        wait_until(lambda: refused_connection() and netmon.poll() is not None, "netmon's end")
    assert netmon.wait(DEADLINE) == code
    assert (netmon.stderr.read().splitlines() or [""])[-1] == message


@pytest.mark.once
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6, 1.0, 1.5])
def test_a_signal_while_it_starts(delay: float) -> None:
    netmon = subprocess.Popen(
        [*NETMON, "run", "--any-kernel"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        netmon.wait(delay)  # the delay is the case, not a wait for something
    netmon.terminate()
    out, err = netmon.communicate(timeout=DEADLINE)
    assert out == ""
    assert "Traceback" not in err
    # Before Python has come to netmon's code, the signal kills the process as usual.
    assert netmon.returncode in (0, -signal.SIGTERM)


@pytest.mark.oldest_and_newest
def test_kernels_under_6_2_are_refused() -> None:
    release = os.uname().release
    old = tuple(map(int, release.split(".")[:2])) < (6, 2)
    refused = run("run", "--name", "nothing") if old else None
    if refused is not None:
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert refused.stderr.startswith(f"netmon: Linux {release}, older than 6.2")
        assert "--any-kernel" in refused.stderr
        assert run("check", "--any-kernel").returncode == 0
        assert run("check", NETMON_ANY_KERNEL="1").returncode == 0
    assert run("check").returncode == (1 if old else 0)


@pytest.mark.only_on("6.1")
def test_the_environment_can_allow_any_kernel() -> None:
    netmon = subprocess.Popen(
        [*NETMON, "run"], env={**os.environ, "NETMON_ANY_KERNEL": "1"}, stderr=subprocess.PIPE, text=True
    )
    assert netmon.stderr is not None
    assert netmon.stderr.readline() == "netmon: ready\n"
    netmon.terminate()
    assert netmon.wait(DEADLINE) == 0


@pytest.mark.core
def test_check_lists_each_requirement() -> None:
    table = run("check", "--any-kernel").stdout
    names = [line.split(maxsplit=1)[1].partition(":")[0] for line in table.splitlines()]
    assert names == ["kernel", "BTF", "capabilities", "lockdown", "libbpf", "tracing programs", "byte counts"]
    assert "ok   byte counts: exact\n" in table
    assert all(line.startswith("ok") for line in table.splitlines())
    assert "this kernel has no" not in table


@pytest.mark.core
@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("", "CAP_PERFMON and CAP_BPF"),
        ("+bpf", "CAP_PERFMON"),
        ("+perfmon", "CAP_BPF"),
        ("+bpf,+perfmon", ""),
    ],
)
def test_it_needs_two_capabilities_and_not_root(granted: str, missing: str) -> None:
    ambient = [f"--inh-caps={granted}", f"--ambient-caps={granted}"]
    command = ["setpriv", "--reuid=1000", "--clear-groups", *(ambient if granted else []), "--"]
    netmon = subprocess.Popen(
        [*command, *NETMON, "run", "--any-kernel"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert netmon.stderr is not None
    first = netmon.stderr.readline()
    if missing:
        assert netmon.wait(DEADLINE) == 1
        assert f"{missing} missing" in first + netmon.stderr.read()
    else:
        assert first == "netmon: ready\n"
        netmon.terminate()
        assert netmon.wait(DEADLINE) == 0


@pytest.mark.once
def test_a_config_file(tmp_path: Path) -> None:
    config = "egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip: [127.0.0.1]\n"
    with Netmon(config=config, tmp_path=tmp_path) as netmon, listen("127.0.0.2"):
        refused_connection()
        ended = netmon.stop()
    assert [event["network_event"]["daddr"] for event in ended.events] == ["127.0.0.1"] * 2


@pytest.mark.once
def test_filter_flags() -> None:
    python = Path(sys.executable).resolve().name
    with Netmon("--egress", "--name", python, "--deny-process") as netmon:
        refused_connection()
        subprocess.run(["bash", "-c", "echo > /dev/tcp/127.0.0.1/1"], stderr=subprocess.DEVNULL)
        ended = netmon.stop()
    assert [event["process"]["filename"] for event in ended.events] == ["bash", "bash"]


@pytest.mark.core
def test_nothing_of_a_killed_netmon_stays_in_the_kernel() -> None:
    before = kernel_objects()
    with Netmon() as netmon:
        assert len(kernel_objects() - before) > 10
        netmon.process.kill()
        netmon.process.wait(DEADLINE)
    wait_until_freed(before)


@pytest.mark.once
def test_several_can_run_at_the_same_time(netmon: Netmon) -> None:
    """The shared one runs before the other one, beside it, and after it."""
    with netmon.watch() as seen:
        with Netmon() as other:
            refused_connection()
            assert len(other.stop().events) == 2
        refused_connection()
    assert len(seen) == 4


def seconds_to_start() -> float:
    start = time.monotonic()
    with Monitor(any_kernel=True):
        return time.monotonic() - start


@pytest.mark.oldest_and_newest
def test_ready_soon() -> None:
    """Prints the figures. The bound detects a verifier that takes seconds for a program, not a busy machine."""
    seconds = min(seconds_to_start() for _ in range(2))
    with Netmon(anew=True) as netmon:
        print(f"attached in {seconds:.2f} s; the command ready in {netmon.seconds_to_ready:.2f} s")
    assert seconds < 5
