"""SIGHUP: another configuration replaces the previous one at once."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from netmon import Config, Monitor, NetmonError
from tests.support.netmon_command import PROGRAMS, Netmon, wait_until
from tests.support.sockets import refused_connection


def config_for(*addresses: str, binary: str = "") -> str:
    """Return the YAML of a configuration that reports connects to these addresses."""
    text = f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip: [{', '.join(addresses)}]\n"
    return text + (f"process_filter:\n  binary:\n    name: [{binary}]\n" if binary else "")


def reload(netmon: Netmon, path: Path, text: str, says: str) -> None:
    """Write the configuration, send SIGHUP, and wait for a new message that contains a text."""
    path.write_text(text)
    before = len(netmon.stderr)
    netmon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: says in netmon.stderr[before:], f"{says!r}, not {netmon.stderr[before:]!r}")


def connect_to(address: str) -> None:
    subprocess.run(["bash", "-c", f"echo > /dev/tcp/{address}/1"], stderr=subprocess.DEVNULL)


@pytest.mark.core
def test_another_file_takes_effect_at_once(tmp_path: Path) -> None:
    path = tmp_path / "netmon.yaml"
    with Netmon(config=config_for("127.0.0.1"), tmp_path=tmp_path) as netmon:
        connect_to("127.0.0.1")
        connect_to("127.0.0.2")
        reload(netmon, path, config_for("127.0.0.2"), "reloaded")
        connect_to("127.0.0.1")
        connect_to("127.0.0.2")
        reload(netmon, path, config_for("127.0.0.0/8", binary="curl"), "reloaded")
        connect_to("127.0.0.1")
        subprocess.run(["curl", "-s", "http://127.0.0.3:1/"])
        reload(netmon, path, "egress:\n  enabled: true\n", "reloaded")
        connect_to("127.0.0.4")
        ended = netmon.stop()
    assert [event["network_event"]["daddr"] for event in ended.events[::2]] == [
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.4",
    ]
    assert ended.returncode == 0


@pytest.mark.once
def test_a_reload_is_handled_before_aggregates_are_due(tmp_path: Path) -> None:
    """Meanwhile new processes are described all the time, and nothing is reported about them yet."""
    text = config_for("127.0.0.1")
    with Netmon("--aggregate", "1h", config=text, tmp_path=tmp_path) as netmon:
        script = "while :; do bash -c 'echo > /dev/tcp/127.0.0.1/1'; done"
        connecting = subprocess.Popen(["bash", "-c", script], stderr=subprocess.DEVNULL)
        reload(netmon, tmp_path / "netmon.yaml", text, "reloaded")
        connecting.kill()
        connecting.wait()


def test_a_known_process_is_evaluated_again_after_a_reload() -> None:
    """The process is this one, whose verdict the kernel keeps until the filter changes."""

    def config(deny: bool) -> Config:
        return Config.from_dict(
            {"egress": {"enabled": True}, "process_filter": {"binary": {"prefix": ["/usr/"]}, "deny_list": deny}}
        )

    with Monitor(config(deny=True), any_kernel=True) as monitor:
        seen = []
        for deny in (True, False, True, False):
            monitor.reload(config(deny=deny))
            refused_connection()
            seen.append(len(list(monitor.connection_events(timeout=0.5))))
    assert seen == [0, 2, 0, 2]


@pytest.mark.once
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("egress: {enabled: maybe}\n", "egress.enabled"),
        ("ingress:\n  enabled: true\n", "cannot change while netmon runs"),
        (
            "egress:\n  enabled: true\nnetns_filter:\n  netns: [/run/netns/absent]\n",
            "netmon.yaml:4: netns_filter.netns[0]: ",
        ),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path, text: str, says: str) -> None:
    with Netmon(config=config_for("127.0.0.1"), tmp_path=tmp_path) as netmon:
        reload(netmon, tmp_path / "netmon.yaml", text, "going on as before")
        assert says in netmon.stderr
        connect_to("127.0.0.1")
        ended = netmon.stop()
    assert len(ended.events) == 2
    assert ended.returncode == 0


@pytest.mark.once
def test_a_hangup_without_a_file_to_reload_ends_it() -> None:
    """The terminal was closed."""
    with Netmon() as netmon:
        connect_to("127.0.0.1")
        ended = netmon.stop(signal.SIGHUP)
    assert len(ended.events) == 2
    assert (ended.returncode, ended.stderr) == (0, "netmon: ready\nnetmon: 2 events, 0 lost\n")


@pytest.mark.core
def test_every_event_is_reported_while_filters_are_swapped() -> None:
    """Two lists that both match are swapped again and again under load: each event is reported, once."""
    lists = [
        Config.from_dict({"egress": {"enabled": True, "ipv4_filter": {"dst_ip": ["127.0.0.0/8", other]}}})
        for other in ("10.0.0.0/8", "192.168.0.0/16")
    ]
    count = 5000
    with Monitor(lists[0], any_kernel=True) as monitor:
        load = subprocess.Popen([PROGRAMS / "connect_load", "-n", str(count)], stdout=subprocess.DEVNULL)
        swaps = 0
        while load.poll() is None:
            swaps += 1
            monitor.reload(lists[swaps % 2])
        monitor.stop()
        cookies = [event.network_event.cookie for event in monitor]
        losses = monitor.losses
    assert swaps > 3
    assert losses.total == 0
    assert len(cookies) <= 2 * count <= len(cookies) + losses.missed
    assert all(cookies.count(cookie) == 2 for cookie in cookies[:50])


@pytest.mark.once
def test_a_reload_cannot_change_directions() -> None:
    egress = Config.from_dict({"egress": {"enabled": True}})
    with Monitor(egress, any_kernel=True) as monitor, pytest.raises(NetmonError, match="start it again"):
        monitor.reload(None)
