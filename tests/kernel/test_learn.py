"""What programs do is learned and expected from then on; anything else is reported, with an exit code of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.netmon_command import Netmon
from tests.support.waiting import DEADLINE

NETMON = [sys.executable, "-m", "netmon"]
SCRIPT = "echo >/dev/tcp/127.0.0.{}/1"


def connect_to(address: str) -> None:
    subprocess.run(["bash", "-c", f"echo > /dev/tcp/{address}/1"], stderr=subprocess.DEVNULL)


def netmon_exec(*flags: str | Path, script: str) -> subprocess.CompletedProcess[str]:
    command = [*NETMON, "exec", "--any-kernel", *map(str, flags), "--", "bash", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE)


@pytest.mark.once
def test_what_a_host_does_is_learned_and_the_rest_is_reported(tmp_path: Path) -> None:
    with Netmon("--egress", "--for", "1h", "--name", "bash", command="learn") as netmon:
        connect_to("127.0.0.3")
        learned = netmon.stop()
    assert "netmon: learned 1 connection of 1 program\n" in learned.stderr
    expected = tmp_path / "expected.yaml"
    expected.write_bytes(learned.stdout)
    checked = subprocess.run([*NETMON, "rules", "check", expected], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr.splitlines()[0]) == (0, f"netmon: {expected}: 1 rules, 0 examples")
    with Netmon("--expect", str(expected), "--name", "bash") as netmon:
        connect_to("127.0.0.3")
        connect_to("127.0.0.2")
        netmon.wait_until(lambda: len(netmon.events) == 2, "the events of what is unexpected")
        ended = netmon.stop()
    assert ended.returncode == 3
    assert [(event["network_event"]["daddr"], event["expected"]) for event in ended.events] == [
        ("127.0.0.2", False)
    ] * 2
    assert f"netmon: {expected}: 1 connection not expected\n" in ended.stderr
    assert 'AND port_dst == 1 AND ip_dst == "127.0.0.2"\n' in ended.stderr


@pytest.mark.once
def test_a_command_is_expected_to_do_what_it_did_before(tmp_path: Path) -> None:
    expected, report = tmp_path / "expected.yaml", tmp_path / "report"
    learned = netmon_exec("--report", "rules", "--output", expected, script=f"{SCRIPT.format(10)}; exit 5")
    assert learned.returncode == 5, learned.stderr
    again = netmon_exec("--expect", expected, script=f"{SCRIPT.format(10)}; exit 5")
    assert again.returncode == 5
    assert again.stderr.endswith(f"netmon: {expected}: nothing unexpected\n")
    flags = ("--expect", expected, "--report", "markdown", "--output", report)
    other = netmon_exec(*flags, script=f"{SCRIPT.format(10)}; {SCRIPT.format(11)}; exit 0")
    assert other.returncode == 3
    assert other.stderr.endswith(f"netmon: {expected}: 1 connection not expected\n")
    table, _, rules = report.read_text().partition("```yaml\n")
    assert "127.0.0.11:1" in table and "127.0.0.10" not in table
    allowed = rules.removesuffix("```\n").replace("egress:\n  rules:\n", "")
    expected.write_text(expected.read_text().replace("  rules:\n", f"  rules:\n{allowed}"))
    assert netmon_exec("--expect", expected, script=f"{SCRIPT.format(10)}; {SCRIPT.format(11)}; exit 0").returncode == 0


@pytest.mark.once
def test_a_command_is_not_started_without_its_expectation(tmp_path: Path) -> None:
    started, wrong = tmp_path / "started", tmp_path / "wrong.yaml"
    wrong.write_text("egress: {enabled: true}\nrules:\n- rule: a\n  when: port_dst == 1\n  action: drop\n")
    for file, says in ((tmp_path / "none", "No such file"), (wrong, "reports nothing")):
        ended = netmon_exec("--expect", file, script=f"touch {started}")
        assert (ended.returncode, says in ended.stderr, started.exists()) == (125, True, False), ended.stderr
