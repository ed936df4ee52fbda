"""SIGHUP: another configuration replaces the previous one at once."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon import Config, NetmonError
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.netmon_command import PROGRAMS, Netmon
from tests.support.sockets import refused_connection


def config_for(*addresses: str, binary: str = "") -> str:
    """Return the YAML of a configuration that reports connects to these addresses."""
    text = f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip: [{', '.join(addresses)}]\n"
    return text + (f"process_filter:\n  binary:\n    name: [{binary}]\n" if binary else "")


def connect_to(address: str) -> None:
    subprocess.run(["bash", "-c", f"echo > /dev/tcp/{address}/1"], stderr=subprocess.DEVNULL)


@pytest.mark.core
def test_another_file_takes_effect_at_once(tmp_path: Path) -> None:
    with Netmon(config=config_for("127.0.0.1"), tmp_path=tmp_path) as netmon:
        connect_to("127.0.0.1")
        connect_to("127.0.0.2")
        netmon.reload(config_for("127.0.0.2"))
        connect_to("127.0.0.1")
        connect_to("127.0.0.2")
        netmon.reload(config_for("127.0.0.0/8", binary="curl"))
        connect_to("127.0.0.1")
        subprocess.run(["curl", "-s", "http://127.0.0.3:1/"])
        netmon.reload("egress:\n  enabled: true\n")
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
        netmon.reload(text)
        connecting.kill()
        connecting.wait()


def test_a_known_process_is_evaluated_again_after_a_reload(filtered: Filtered) -> None:
    """The process is this one, whose verdict the kernel keeps until the filter changes."""

    def config(deny: bool) -> Config:
        return Config.from_dict(
            {"egress": {"enabled": True}, "process_filter": {"binary": {"prefix": ["/usr/"]}, "deny_list": deny}}
        )

    seen = []
    for deny in (True, False, True, False):
        monitor = filtered(config(deny=deny))
        refused_connection()
        seen.append(len(events_so_far(monitor)))
    assert seen == [0, 2, 0, 2]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Netmon]:
    """A netmon whose configuration is never replaced by one that it can use."""
    with Netmon(config=config_for("127.0.0.1"), tmp_path=tmp_path_factory.mktemp("config")) as netmon:
        yield netmon
        assert netmon.stop().returncode == 0


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
def test_a_file_that_cannot_be_used_changes_nothing(running: Netmon, text: str, says: str) -> None:
    before = len(running.stderr)
    running.reload(text, "going on as before")
    assert says in running.stderr[before:]
    with running.watch() as seen:
        for address in ("127.0.0.1", "127.0.0.2"):
            connect_to(address)
    assert [event["network_event"]["daddr"] for event in seen] == ["127.0.0.1"] * 2


@pytest.mark.once
def test_a_hangup_without_a_file_to_reload_ends_it() -> None:
    """The terminal was closed."""
    with Netmon() as netmon:
        connect_to("127.0.0.1")
        ended = netmon.stop(signal.SIGHUP)
    assert len(ended.events) == 2
    assert (ended.returncode, ended.stderr) == (0, "netmon: ready\nnetmon: 2 events, 0 lost\n")


@pytest.mark.core
def test_every_event_is_reported_while_filters_are_swapped(filtered: Filtered) -> None:
    """Two lists that both match are swapped again and again under load: each event is reported, once."""
    lists = [
        Config.from_dict({"egress": {"enabled": True, "ipv4_filter": {"dst_ip": ["127.0.0.0/8", other]}}})
        for other in ("10.0.0.0/8", "192.168.0.0/16")
    ]
    count = 5000
    monitor = filtered(lists[0])
    missed_before = monitor.losses.missed
    swaps, made = 0, 0
    cookies: list[int] = []
    while swaps < 4:  # a reload takes long where the host is busy
        load = subprocess.Popen([PROGRAMS / "connect_load", "-n", str(count)], stdout=subprocess.DEVNULL)
        while load.poll() is None:
            swaps += 1
            monitor.reload(lists[swaps % 2])
        made += count
        cookies += [event.network_event.cookie for event in events_so_far(monitor)]
    losses = monitor.losses
    assert losses.total == 0
    assert len(cookies) <= 2 * made <= len(cookies) + losses.missed - missed_before
    assert all(cookies.count(cookie) == 2 for cookie in cookies[:50])


@pytest.mark.once
def test_a_reload_cannot_change_directions(filtered: Filtered) -> None:
    monitor = filtered(Config.from_dict({"egress": {"enabled": True}}))
    with pytest.raises(NetmonError, match="start it again"):
        monitor.reload(None)
