"""The Debian package under systemd: install, run, reload, upgrade, watchdog, purge. The tests run in this order."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netmon.capabilities import NEEDED, capability_mask
from tests.support.json_events import Event, types_of
from tests.support.procfs import status_of
from tests.support.sockets import listen, refused_connection
from tests.support.waiting import DEADLINE
from tests.support.waiting import wait_until as wait_with_pauses

pytestmark = [pytest.mark.guest("systemd"), pytest.mark.only_on("6.12", "6.12-arm64")]

CONFIGURATION = Path("/etc/netmon/netmon.yaml")
DROP_IN = Path("/etc/netmon/netmon.d/feed.yaml")
# What groupadd and groupdel leave behind.
BACKUPS = {Path("/etc/group-"), Path("/etc/gshadow-")}
PLACES = ("/etc", "/usr/bin", "/usr/lib/systemd", "/usr/share", "/var/lib/systemd")
EVERYTHING = (
    "report: {existing: true, statistics: true, outcome: true}\ningress:\n  enabled: true\negress:\n  enabled: true\n"
)
PROCESSES = Path("/sys/fs/cgroup/system.slice/netmon.service/cgroup.procs")
LOOK = 0.3  # seconds between two looks at the service
LONG_ARGUMENT = "x" * 20_000  # more than the kernel half reads


def run(*command: str) -> str:
    # dpkg starts the service: in a guest whose host is busy that alone has taken a minute.
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that is found out by a program: each look takes longer than a usual pause."""
    wait_with_pauses(condition, what, pause=lambda _: time.sleep(LOOK))


def show(name: str) -> str:
    """Return a property of the service."""
    return run("systemctl", "show", "netmon", "--property", name, "--value").strip()


def journal() -> list[str]:
    """Return the service's lines in the journal: netmon's own, and systemd's about it."""
    return run("journalctl", "--unit", "netmon", "--output", "cat", "--no-pager").splitlines()


def wait_for(text: str, times: int = 1) -> None:
    """Wait until the journal has so many lines that contain a text."""
    wait_until(lambda: sum(text in line for line in journal() if not line.startswith("{")) >= times, text)


def events() -> list[Event]:
    """Return the events, by the command in docs/operations.md."""
    command = ("journalctl", "--unit", "netmon", "--output", "cat", "--no-pager", "--grep", "^{")
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout  # it fails while there are none
    return [json.loads(line) for line in lines.splitlines()]


def events_of(filename: str) -> list[Event]:
    return [event for event in events() if event["type"] == "NetworkEvent" and event["process"]["filename"] == filename]


def files() -> set[Path]:
    """Return all files in the directories to which the package, or systemd for it, may write."""
    return {path for place in PLACES for path in Path(place).rglob("*")}


@pytest.fixture(scope="module")
def files_before() -> set[Path]:
    return files()


def install() -> None:
    (package,) = Path("/opt/netmon/deb").glob("*.deb")
    run("dpkg", "--install", str(package))


@pytest.fixture(scope="module", autouse=True)
def _installed(files_before: set[Path]) -> None:
    install()


@pytest.fixture
def server() -> Iterator[str]:
    """The port of a web server."""
    command = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    port = re.search(r"port (\d+)", process.stdout.readline())
    assert port
    yield port[1]
    process.kill()
    process.communicate()


@pytest.mark.core
def test_installing_starts_the_service() -> None:
    assert show("ActiveState") == "active"
    assert show("Type") == "notify"
    assert run("systemctl", "is-enabled", "netmon") == "enabled\n"
    assert run("dpkg", "--verify", "netmon") == ""


def test_it_has_one_capability_left_and_a_user_of_its_own() -> None:
    status = status_of(int(show("MainPID")))
    masks = {name: int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapAmb", "CapBnd")}
    left = capability_mask("BPF")  # for reloads
    assert masks == {"CapEff": left, "CapPrm": left, "CapAmb": 0, "CapBnd": capability_mask(*NEEDED)}
    assert status["Uid"][0] not in ("0", "65534")
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]


@pytest.mark.core
def test_events_are_in_the_journal(server: str) -> None:
    run("curl", "--silent", f"http://127.0.0.1:{server}/")
    wait_until(lambda: types_of(events_of("curl")) == ["Establish", "Close"], "curl's events")
    assert [event["network_event"]["dport"] for event in events_of("curl")] == [int(server)] * 2
    wait_until(lambda: "Accept" in types_of(events_of(Path("/usr/bin/python3").resolve().name)), "the server's")


def test_long_arguments_of_another_user_are_cut() -> None:
    """So each line is an entry of the journal, which cuts longer ones."""
    with listen() as listener:
        script = f"exec 3<> /dev/tcp/127.0.0.1/{listener.getsockname()[1]}; read line"
        command = ["setpriv", "--reuid=1000", "--clear-groups", "bash", "-c", script, LONG_ARGUMENT]
        bash = subprocess.Popen(command, stdin=subprocess.PIPE)
        wait_until(lambda: events_of("bash"), "bash's connection")
        bash.communicate(b"\n")
    assert events_of("bash")[0]["process"]["uid"] == 1000
    args = events_of("bash")[0]["process"]["args"]
    assert f"-c {script} {LONG_ARGUMENT}".startswith(args)
    assert len(args) > 8000
    assert events_of("bash")[0]["process"]["truncated"] == "args"


def test_reload_takes_another_configuration() -> None:
    CONFIGURATION.write_text(
        "ingress:\n  enabled: true\negress:\n  enabled: true\n  ipv4_filter: {dst_ip: [192.0.2.1]}\n"
    )
    run("systemctl", "reload", "netmon")
    wait_for(f"netmon: reloaded {CONFIGURATION}")
    assert json.loads(run("netmon", "status", "--format", "json"))["configuration"]["generation"] == 2
    DROP_IN.parent.mkdir()
    DROP_IN.write_text("egress: {ipv4_filter: {dst_ip: ['file:/etc/netmon/netmon.d/feed.txt']}}\n")
    DROP_IN.with_name("feed.txt").write_text("192.0.2.7 ; SBL1\n")
    run("systemctl", "reload", "netmon")
    shutil.rmtree(DROP_IN.parent)
    assert "generation 3; " in show("StatusText")
    before = len(events())
    refused_connection()
    CONFIGURATION.write_text("nonsense: true\n")
    failed = subprocess.run(["systemctl", "reload", "netmon"], capture_output=True, timeout=2 * DEADLINE)
    assert failed.returncode != 0
    errors = run("journalctl", "--unit", "netmon", "--priority", "err", "--output", "cat", "--no-pager").splitlines()
    assert f"netmon: {CONFIGURATION}:1: nonsense: unknown key" in "\n".join(errors)
    assert f"netmon: {CONFIGURATION} not reloaded: going on as before" in errors
    assert "the last reload failed; " in show("StatusText")
    assert [show(name) for name in ("ActiveState", "NRestarts")] == ["active", "0"]
    assert len(events()) == before


def test_root_and_the_metrics_service_may_ask_it() -> None:
    assert "the last reload failed at " in run("netmon", "status")
    run("netmon", "status", "--ready")
    refused = subprocess.run(
        ["setpriv", "--reuid=1000", "--clear-groups", "netmon", "status"], capture_output=True, text=True
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "only root, netmon's own user and the socket's group may ask" in refused.stderr
    run("systemctl", "start", "netmon-metrics")
    address = "http://127.0.0.1:9464"
    ready = ["curl", "--silent", "--fail", f"{address}/ready"]
    try:
        wait_until(lambda: subprocess.run(ready, stdout=subprocess.DEVNULL).returncode == 0, "metrics")
    except AssertionError:
        pytest.fail(run("journalctl", "--unit", "netmon-metrics", "--output", "cat", "--no-pager"))
    metrics = run("curl", "--silent", "--fail", f"{address}/metrics").splitlines()
    assert "netmon_config_last_reload_successful 0" in metrics
    assert "netmon_config_generation 3" in metrics
    assert [line for line in metrics if line.startswith("netmon_programs_attached ")] != ["netmon_programs_attached 0"]
    status = status_of(int(run("systemctl", "show", "netmon-metrics", "--property", "MainPID", "--value")))
    assert {status[name][0] for name in ("CapEff", "CapPrm", "CapBnd")} == {f"{0:016x}"}
    run("systemctl", "stop", "netmon-metrics")


def test_an_upgrade_restarts_it_and_keeps_the_configuration() -> None:
    """The configuration has many report options. The watchdog's time is shortened for the tests that follow."""
    CONFIGURATION.write_text(EVERYTHING)
    directory = Path("/run/systemd/system/netmon.service.d")
    directory.mkdir(parents=True)
    (directory / "test.conf").write_text("[Service]\nWatchdogSec=5\nRestartSec=0\n")
    with listen() as listener:
        arguments = ("127.0.0.1", str(listener.getsockname()[1]))
        command = ["setpriv", "--reuid=1000", "--clear-groups", "nc", *arguments]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        accepted, _ = listener.accept()
        install()
        assert CONFIGURATION.read_text() == EVERYTHING
        wait_until(lambda: types_of(events_of("nc.openbsd")) == ["Existing"], "the existing connection")
        # They are read from /proc, without the right to trace the process.
        assert events_of("nc.openbsd")[0]["process"]["args"] == " ".join(arguments)
        accepted.close()
        client.communicate()
    wait_until(lambda: types_of(events_of("nc.openbsd")) == ["Existing", "Close"], "its close")
    assert "duration_us" in events_of("nc.openbsd")[1]["network_event"]


def test_the_watchdog_restarts_it_when_signs_of_life_stop() -> None:
    pid = int(show("MainPID"))
    last = show("WatchdogTimestampMonotonic")
    wait_until(lambda: show("WatchdogTimestampMonotonic") != last, "a sign of life")
    os.kill(pid, signal.SIGSTOP)
    wait_for("Watchdog timeout")
    wait_until(lambda: show("NRestarts") == "1" and show("ActiveState") == "active", "a new process")
    assert int(show("MainPID")) != pid


def processes() -> set[int]:
    """Return the service's process ids: none while it is restarted."""
    try:
        return set(map(int, PROCESSES.read_text().split()))
    except OSError:
        return set()


def kill_and_wait() -> None:
    """Kill the service's process, and wait for the next one."""
    killed = processes()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_with_pauses(lambda: processes() - killed, "a new process")


def test_it_is_restarted_however_often_it_is_killed() -> None:
    """By default systemd gives up after five times in ten seconds."""
    before = int(show("NRestarts"))
    for _ in range(25):
        kill_and_wait()
    wait_until(lambda: show("ActiveState") == "active", "the service")
    assert int(show("NRestarts")) == before + 25


def test_stopping_it_is_a_success() -> None:
    run("systemctl", "stop", "netmon")
    assert [show(name) for name in ("ActiveState", "Result", "ExecMainStatus")] == ["inactive", "success", "0"]
    assert [line for line in journal() if ", 0 lost" in line]


def test_with_a_wrong_configuration_it_is_not_restarted() -> None:
    CONFIGURATION.write_text("nonsense: true\n")
    assert subprocess.run(["systemctl", "start", "netmon"], capture_output=True).returncode != 0
    assert [show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")] == ["failed", "2", "0"]


def test_purging_removes_everything(files_before: set[Path]) -> None:
    run("dpkg", "--purge", "netmon")
    assert files() - files_before <= BACKUPS
    assert show("LoadState") == "not-found"
