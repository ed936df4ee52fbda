"""The reference's three samples, made by the same programs, have the same keys, types and meaning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.json_events import Event, endpoints_of, types_of
from tests.support.netmon_command import Netmon
from tests.support.waiting import wait_until

pytestmark = pytest.mark.core

PROCESS = {
    "args": str,
    "auid": int,
    "binary_path": str,
    "cap_effective": str,
    "cap_inheritable": str,
    "cap_permitted": str,
    "egid": int,
    "euid": int,
    "filename": str,
    "gid": int,
    "pid": int,
    "ppid": int,
    "secureexec": str,
    "start_time": str,
    "tid": int,
    "uid": int,
}
CONNECTION = {"cookie": int, "daddr": str, "dport": int, "saddr": str, "sport": int, "type": str}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

NGINX = """
daemon off; user root; worker_processes 1; pid /run/nginx.pid; error_log /tmp/error.log;
events {}
http { access_log off; server { listen 80; listen [::]:80; location / { return 200 "hello"; } } }
"""


def types_in(values: dict[str, Any]) -> dict[str, type]:
    return {key: type(value) for key, value in values.items()}


def assert_has_the_references_form(event: Event) -> None:
    assert set(event) == {"type", "process", "network_event", "timestamp"}
    assert event["type"] == "NetworkEvent"
    assert types_in(event["process"]) == PROCESS
    assert types_in(event["network_event"]) == CONNECTION
    assert re.fullmatch(TIME, event["timestamp"])
    assert re.fullmatch(TIME, event["process"]["start_time"])
    assert event["process"]["start_time"] <= event["timestamp"]


def of_program(seen: list[Event], filename: str) -> list[Event]:
    return [event for event in seen if event["process"]["filename"] == filename]


def served_by(server: int, client: int, events: list[Event]) -> list[Event]:
    """Return a server's events of the connections that a client made to it. Both are process ids."""
    ports = {event["network_event"]["sport"] for event in events if event["process"]["pid"] == client}
    return [event for event in events if event["process"]["pid"] == server and event["network_event"]["dport"] in ports]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run nginx; yield its worker's process id."""
    config = tmp_path_factory.mktemp("nginx") / "nginx.conf"
    config.write_text(NGINX)
    server = subprocess.Popen(["nginx", "-c", config])
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    worker = int(wait_until(lambda: children.read_text().split(), "nginx's worker")[0])
    wait_until(lambda: subprocess.run(["curl", "-s", "http://127.0.0.1/"], capture_output=True).stdout, "nginx")
    yield worker
    server.terminate()
    server.wait()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("wget", ["-qO-", "-6", "http://localhost/"]),
        ("wget", ["-qO-", "-4", "http://localhost/"]),
        ("curl", ["-s", "http://[::1]/"]),
        ("curl", ["-s", "http://127.0.0.1/"]),
    ],
)
def test_a_request_to_a_web_server_is_reported_like_the_references(
    netmon: Netmon, nginx: int, program: str, arguments: list[str]
) -> None:
    address = "::1" if {"-6", "http://[::1]/"} & set(arguments) else "127.0.0.1"
    with netmon.watch() as seen:
        client = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE)
        assert client.communicate()[0] == b"hello"
        netmon.wait_until(lambda: len(served_by(nginx, client.pid, netmon.events)) == 2, "nginx's accept and close")
    mine = of_program(seen, program)
    for event in seen:
        assert_has_the_references_form(event)
    assert types_of(mine) == ["Establish", "Close"]
    assert mine[0]["network_event"]["cookie"] == mine[1]["network_event"]["cookie"]
    assert mine[0]["process"] == mine[1]["process"]
    process = mine[0]["process"]
    assert process["pid"] == process["tid"] == client.pid
    assert process["ppid"] == os.getpid()
    assert process["binary_path"] == shutil.which(program)
    assert process["args"] == " ".join(arguments)
    saddr, sport, daddr, dport = endpoints_of(mine[0])
    assert (saddr, daddr, dport) == (address, address, 80)
    served = served_by(nginx, client.pid, seen)
    assert types_of(served) == ["Accept", "Close"]
    assert {endpoints_of(event) for event in served} == {(address, 80, address, sport)}


def test_netcat_and_telnet_are_reported_like_the_references(netmon: Netmon) -> None:
    with netmon.watch() as seen:
        server = subprocess.Popen(["nc", "-l", "7878"], stdin=subprocess.DEVNULL)
        wait_until(lambda: ":1EC6" in Path("/proc/net/tcp").read_text(), "nc listening on 7878")
        client = subprocess.Popen(
            ["telnet", "localhost", "7878"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        netmon.wait_until(
            lambda: {"nc.openbsd", "inetutils-telnet"} <= {event["process"]["filename"] for event in netmon.events},
            "both ends' openings",
        )
        client.terminate()
        client.wait()
        server.wait()
    for event in seen:
        assert_has_the_references_form(event)
    telnet, netcat = of_program(seen, "inetutils-telnet"), of_program(seen, "nc.openbsd")
    # telnet tries ::1 first, where nobody listens.
    established = telnet[-2:]
    assert types_of(established) == ["Establish", "Close"]
    assert types_of(netcat) == ["Accept", "Close"]
    client_port = endpoints_of(established[0])[1]
    assert {endpoints_of(event) for event in established} == {("127.0.0.1", client_port, "127.0.0.1", 7878)}
    assert {endpoints_of(event) for event in netcat} == {("127.0.0.1", 7878, "127.0.0.1", client_port)}
    assert telnet[0]["process"]["args"] == "localhost 7878"
    assert netcat[0]["process"]["args"] == "-l 7878"
    assert telnet[0]["process"]["binary_path"] == "/usr/bin/inetutils-telnet"
    assert netcat[0]["process"]["binary_path"] == "/usr/bin/nc.openbsd"
