"""Filter flags as people type them, in the kernel: addresses, ports, and names of links and scripts."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netmon.cli.flags import config_of
from netmon.cli.main import make_parser
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.netmon_command import PROGRAMS, Netmon

BIN = Path("/usr/local/bin")
PORT = 7878
# From and to: which connections the test makes, each with its letter.
CONNECTIONS = {
    "a": ("127.0.0.1", "127.0.0.2"),
    "b": ("127.0.0.2", "127.0.0.1"),
    "c": ("127.0.0.1", "127.0.0.1"),
    "d": ("::1", "::1"),
}


@pytest.mark.once
@pytest.mark.parametrize(
    ("flags", "reported"),
    [
        ("--peer 127.0.0.2", "a"),
        ("--local 127.0.0.2,::1", "bd"),
        ("--local 127.0.0.1 --peer 127.0.0.1", "c"),
        ("--local 127.0.0.1 --peer 127.0.0.0/30 --peer-port 7878", "ac"),
        ("--local 127.0.0.1 --peer 127.0.0.0/30 --peer-port 7879", ""),
        ("--deny-ip --local 127.0.0.1 --peer 127.0.0.1", "abd"),
        ("-6", "d"),
        ("--port 7878 -4", "abc"),
        ("--src-port 1-65535 --dst-port 7878 --peer ::1", "d"),
        ("--deny-port --src-port 7878 --dst-port 7878", "abcd"),
        ("--gid 0 --peer 127.0.0.2", "a"),
        ("--gid 1", ""),
    ],
)
def test_addresses_and_ports(filtered: Filtered, flags: str, reported: str) -> None:
    config = config_of(make_parser(["run"]).parse_args(["run", "--egress", *flags.split()]))
    assert config is not None
    monitor = filtered(config)
    with socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        for source, destination in CONNECTIONS.values():
            socket.create_connection((destination, PORT), source_address=(source, 0)).close()
            listener.accept()[0].close()
    events = [event.network_event for event in events_so_far(monitor)]
    assert {(event.saddr, event.daddr) for event in events} == {CONNECTIONS[letter] for letter in reported}
    assert len(events) == 2 * len(reported)


CONFIG = """
egress:
  enabled: true
  port_filter:
    dst_port: [2]
run:
  ring_size: 64K
"""
SCRIPT = "echo > /dev/tcp/127.0.0.1/1\n"


@pytest.fixture
def programs() -> Iterator[None]:
    """A program by its own name, a link to it, and two scripts, of which env starts one."""
    BIN.mkdir(parents=True, exist_ok=True)
    real = Path(shutil.copy(PROGRAMS / "connect_once", BIN / "tool.real"))
    link, script, by_env = BIN / "tool", BIN / "script-tool", BIN / "env-tool"
    link.symlink_to(real)
    script.write_text(f"#!/bin/bash\n{SCRIPT}")
    by_env.write_text(f"#!/usr/bin/env bash\n{SCRIPT}")
    for path in (script, by_env):
        path.chmod(0o755)
    yield
    for path in (real, link, script, by_env):
        path.unlink()


@pytest.mark.once
def test_names_of_links_and_scripts(programs: None, tmp_path: Path) -> None:
    """And flags win over the file, whose filter of ports would report nothing."""
    flags = ("--name", "tool,script-tool,env-tool", "--port", "1")
    with Netmon(*flags, config=CONFIG, tmp_path=tmp_path) as netmon:
        for command in ("tool 1", "tool.real 1", "script-tool", "env-tool", "bash script-tool"):
            subprocess.run(command.split(), cwd=BIN, stderr=subprocess.DEVNULL)
        ended = netmon.stop()
    names = [event["process"]["filename"] for event in ended.events]
    assert names == ["tool.real"] * 4 + ["bash"] * 2
    ready, notice, _ = ended.stderr.splitlines()
    assert ready == "netmon: ready"
    assert notice.startswith(f"netmon: --name env-tool: {BIN}/env-tool is a script, whose processes are called bash; ")
