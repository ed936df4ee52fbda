"""Named rules, from a file to the lines of `netmon run`: what they report, and how a reload swaps them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.netmon_command import Netmon

ON = "egress:\n  enabled: true\nreport:\n  statistics: true\n"
RULES = (
    ON
    + """\
lists:
- list: shells
  items: [bash, sh]
rules:
- rule: quiet
  when: ip_dst == "127.0.0.9"
  action: drop
- rule: shell
  when: binary_name in shells AND NOT ip_dst == "127.0.0.2"
  severity: high
  tags: [shell]
  message: "{process.filename} to {network_event.daddr}"
- rule: short
  when: 'bytes == 0 AND ip_dst in ["127.0.0.0/8", "::1"]'
"""
)
OTHERS = ON + 'rules:\n- rule: elsewhere\n  when: ipv4_dst == "127.0.0.0/8" AND ipv4_dst == "127.0.0.2"\n'


def connect_to(address: str) -> None:
    subprocess.run(["bash", "-c", f"echo > /dev/tcp/{address}/1"], stderr=subprocess.DEVNULL)


@pytest.mark.once
def test_rules_report_what_they_match_and_a_reload_swaps_them(tmp_path: Path) -> None:
    """From a run without rules to one with them, though netmon has given up its rights by then, and to others."""
    with Netmon(config=ON, tmp_path=tmp_path) as netmon:
        connect_to("127.0.0.1")
        netmon.wait_until(lambda: len(netmon.events) == 2, "the events before the rules")
        netmon.reload(RULES)
        for address in ("127.0.0.3", "127.0.0.9", "127.0.0.2"):
            connect_to(address)
        netmon.wait_until(lambda: len(netmon.events) == 5, "the events that the rules match")
        netmon.reload(OTHERS)
        for address in ("127.0.0.3", "127.0.0.2"):
            connect_to(address)
        ended = netmon.stop()
    seen = [
        (
            event["network_event"]["daddr"],
            event["network_event"]["type"][13:],
            event.get("rules"),
            event.get("severity"),
        )
        for event in ended.events
    ]
    assert seen == [
        ("127.0.0.1", "Establish", None, None),
        ("127.0.0.1", "Close", None, None),
        ("127.0.0.3", "Establish", ["shell"], "high"),
        ("127.0.0.3", "Close", ["shell", "short"], "high"),
        ("127.0.0.2", "Close", ["short"], "info"),
        ("127.0.0.2", "Establish", ["elsewhere"], "info"),
        ("127.0.0.2", "Close", ["elsewhere"], "info"),
    ]
    assert {event.get("message") for event in ended.events} == {None, "bash to 127.0.0.3"}
    assert "netmon: rules: elsewhere 1\n" in ended.stderr
