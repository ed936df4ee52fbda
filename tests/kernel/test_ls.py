"""`netmon ls`: what is open, beside what ss says."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from netmon import Config, connections
from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS
from tests.support.sockets import Pair, connect_pair, cookie_of, drop, listen

V4, V6 = socket.AF_INET, socket.AF_INET6
MPTCP = 262
CONTAINER = "c0ffee" * 10 + "0123"
LOADS, PER_LOAD = 2, 380  # processes, and connections of each: both ends are in it
V6_PAIRS = 240
SHARERS = 3  # further processes that hold one connection
NO_FILTER = ("ls", "--any-kernel")

# In a network namespace of its own: a connection in a message that nobody receives, and one that nobody accepts.
HIDDEN = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
def connect(): return socket.create_connection(listener.getsockname())
sent = connect()
received, _ = listener.accept()
ours, theirs = socket.socketpair()
socket.send_fds(ours, [b"x"], [sent.fileno()])
sent.close()
unaccepted = connect()
print(flush=True)
sys.stdin.read()
"""


class Kinds(NamedTuple):
    """Connections of this process, of several kinds."""

    both_ways: Pair  # has carried data in both directions
    one_way: Pair  # over IPv6, from the client only
    half_closed: Pair  # by the client
    connecting: socket.socket
    mptcp: list[socket.socket]


class Scene(NamedTuple):
    """What is open, and what `netmon ls` and ss say of it.

    Attributes:
        listed: The lines of `netmon ls`.
        ss: For each socket that a process holds the ids of the processes, by the socket's cookie.
        loads: Processes with many connections; the first one is in a container.
        hidden: A process in another network namespace.
    """

    listed: list[Event]
    ss: dict[int, set[int]]
    loads: list[int]
    hidden: int


def netmon(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "netmon", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def sockets_of(flag: str, without_inodes: set[int]) -> dict[int, set[int]]:
    """Return the processes of each connection that ss shows with this flag, by the cookie."""
    states = ("established", "syn-sent", "fin-wait-1", "fin-wait-2", "close-wait", "last-ack", "closing")
    wanted = [word for state in states for word in ("state", state)]
    said = subprocess.run(["ss", "-anpeH", flag, *wanted], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in said.splitlines():
        cookie = re.search(r" sk:([0-9a-f]+)", line)
        inode = re.search(r" ino:(\d+)", line)
        assert cookie, line
        if inode and int(inode[1]) in without_inodes:
            continue
        found[int(cookie[1], 16)] = {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
    return found


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says when it is ready, and ends with its standard input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


@contextmanager
def container(pid: int) -> Iterator[None]:
    """Move a process to a cgroup as a container has it."""
    cgroup = Path(f"/sys/fs/cgroup/docker-{CONTAINER}.scope")
    cgroup.mkdir()
    before = Path(f"/proc/{pid}/cgroup").read_text().partition("::")[2].strip()
    (cgroup / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        Path(f"/sys/fs/cgroup{before}/cgroup.procs").write_text(str(pid))
        cgroup.rmdir()


def half_closed(listener: socket.socket) -> Pair:
    """Return a connection that the client has shut down."""
    pair = connect_pair(listener, listener.getsockname())
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.server.recv(1) == b""
    return pair


def mptcp_pair() -> list[socket.socket]:
    listener = socket.socket(V4, socket.SOCK_STREAM, MPTCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = socket.socket(V4, socket.SOCK_STREAM, MPTCP)
    client.connect(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"mptcp")
    assert server.recv(10) == b"mptcp"
    listener.close()
    return [client, server]


def exchange(pair: Pair, *, both_ways: bool) -> None:
    """Send from the client, and if asked for from the server, too."""
    pair.client.sendall(b"request")
    assert pair.server.recv(10) == b"request"
    if both_ways:
        pair.server.sendall(b"ok")
        assert pair.client.recv(10) == b"ok"


@pytest.fixture(scope="module")
def kinds() -> Iterator[Kinds]:
    with ExitStack() as stack:
        v4, v6, silent = (stack.enter_context(listener) for listener in (listen(), listen("::1", V6), listen()))
        both_ways, half = connect_pair(v4, v4.getsockname()), half_closed(v4)
        one_way = connect_pair(v6, v6.getsockname()[:2], V6)
        exchange(both_ways, both_ways=True)
        exchange(one_way, both_ways=False)
        for pair in (both_ways, one_way, half):
            stack.callback(pair.close)
        drop(silent)
        connecting = stack.enter_context(socket.socket())
        connecting.setblocking(False)
        connecting.connect_ex(silent.getsockname())
        yield Kinds(both_ways, one_way, half, connecting, [stack.enter_context(sock) for sock in mptcp_pair()])


@pytest.fixture(scope="module")
def scene(kinds: Kinds, modules: None) -> Iterator[Scene]:
    """Open some 2,000 sockets of several processes, and list them."""
    load = [str(PROGRAMS / "connect_load"), "-n", str(PER_LOAD), "-o"]
    with ExitStack() as stack:
        loads = [stack.enter_context(running(load)) for _ in range(LOADS)]
        stack.enter_context(container(loads[0].pid))
        hidden = stack.enter_context(
            running(["unshare", "--net", "sh", "-c", 'ip link set lo up; exec python3 -c "$0"', HIDDEN])
        )
        v6 = stack.enter_context(listen("::1", V6))
        pairs = [connect_pair(v6, v6.getsockname()[:2], V6) for _ in range(V6_PAIRS)]
        for pair in pairs:
            stack.callback(pair.close)
        for _ in range(SHARERS):
            child = subprocess.Popen(["sleep", "1000"], pass_fds=[pairs[0].client.fileno()])
            stack.callback(child.wait)
            stack.callback(child.kill)
        done = netmon(*NO_FILTER)
        # Of MPTCP, `ss -t` shows the subflows, with the inodes and processes of the programs' sockets.
        inodes = {os.fstat(sock.fileno()).st_ino for sock in kinds.mptcp}
        sockets = sockets_of("-t", inodes) | sockets_of("-M", set())
        yield Scene(
            listed=[json.loads(line) for line in done.stdout.splitlines()],
            ss={cookie: pids for cookie, pids in sockets.items() if pids},
            loads=[process.pid for process in loads],
            hidden=hidden.pid,
        )


@pytest.mark.once
def test_it_lists_what_ss_lists(scene: Scene, kinds: Kinds) -> None:
    """The same sockets, each once, with the same processes; ss does not look into other network namespaces."""
    listed = {
        event["network_event"]["cookie"]: {event["process"]["pid"], *event["network_event"].get("other_pids", [])}
        for event in scene.listed
        if event["process"]["pid"] != scene.hidden
    }
    assert len(scene.listed) == len({event["network_event"]["cookie"] for event in scene.listed})
    assert listed == scene.ss
    assert len(listed) >= 2 * (LOADS * PER_LOAD + V6_PAIRS) >= 2000
    assert {cookie_of(sock) for sock in kinds.mptcp} <= listed.keys()
    shared = [event for event in scene.listed if "other_pids" in event["network_event"]]
    assert [(len(event["network_event"]["other_pids"]), event["network_event"]["holders"]) for event in shared] == [
        (SHARERS, 1 + SHARERS)
    ]


@pytest.mark.once
def test_processes_are_described(scene: Scene) -> None:
    for pid in scene.loads:
        (process,) = {json.dumps(event["process"]) for event in scene.listed if event["process"]["pid"] == pid}
        described = json.loads(process)
        assert (described["filename"], described["args"]) == ("connect_load", f"-n {PER_LOAD} -o")
        assert described.get("container_id") == (CONTAINER if pid == scene.loads[0] else None)
    directions = [
        event["network_event"]["direction"] for event in scene.listed if event["process"]["pid"] == scene.loads[0]
    ]
    assert directions.count("ingress") == directions.count("egress") == PER_LOAD


@pytest.mark.core
def test_connections_have_state_bytes_and_times(kinds: Kinds) -> None:
    """Those of one process, which a filter chooses."""
    both = {"ingress": {"enabled": True}, "egress": {"enabled": True}}
    config = Config.from_dict({**both, "process_filter": {"pid": [os.getpid()]}})
    found = {event.network_event.cookie: event.network_event for event in connections(config, any_kernel=True)}
    client, server = (found[cookie] for cookie in kinds.both_ways[2:])
    assert (client.direction, client.bytes_sent, client.bytes_received) == ("egress", 7, 2)
    assert (server.direction, server.bytes_sent, server.bytes_received) == ("ingress", 2, 7)
    assert client.rtt_us
    assert client.duration_us is server.duration_us is None
    for cookie in kinds.one_way[2:]:
        one_way = found[cookie]
        assert (one_way.state, one_way.holders, one_way.other_pids) == ("established", 1, None)
        assert one_way.duration_us is not None and one_way.idle_ms is not None
        assert one_way.duration_us >= one_way.idle_ms * 1000
    assert [found[cookie].state for cookie in kinds.half_closed[2:]] == ["fin_wait2", "close_wait"]
    connecting = found[cookie_of(kinds.connecting)]
    assert (connecting.state, connecting.direction) == ("syn_sent", "egress")
    assert connecting.duration_us is connecting.idle_ms is None
    mptcp = [found[cookie_of(sock)] for sock in kinds.mptcp]
    assert [(one.direction, one.bytes_sent, one.bytes_received) for one in mptcp] == [
        ("egress", 5, 0),
        ("ingress", 0, 5),
    ]


@pytest.mark.once
def test_sockets_of_no_process_are_counted(scene: Scene) -> None:
    """In a network namespace where nothing else is; connections in others are listed there, too."""
    enter = ("nsenter", f"--net=/proc/{scene.hidden}/ns/net")
    done = netmon(*NO_FILTER, prefix=enter)
    assert len(done.stdout.splitlines()) == len(scene.listed)
    hidden = [event for event in scene.listed if event["process"]["pid"] == scene.hidden]
    assert len(hidden) == 2  # an end of that in the message, and one of that which nobody accepts
    said = "netmon: 2 more belong to no process: 1 not accepted yet, 1 in no open file\n"
    assert done.stderr == said


@pytest.mark.once
def test_filters_sorting_and_a_table(kinds: Kinds) -> None:
    port = kinds.both_ways.server.getsockname()[1]
    flags = ("--pid", str(os.getpid()), "--src-port", str(port), "--sort", "sent", "--format", "table")
    done = netmon(*NO_FILTER, *flags, "--fields", "network_event.sport,network_event.bytes_sent")
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["sport", "bytes_sent"]
    assert [row.split()[1] for row in rows[:1]] == ["2"]
    assert {row.split()[0] for row in rows} == {str(port)}
    assert done.stderr == ""


@pytest.mark.once
def test_the_library_lists_the_same(scene: Scene) -> None:
    config = Config.from_dict(
        {"ingress": {"enabled": True}, "process_filter": {"descendants": [os.getpid()]}, "report": {"context": True}}
    )
    found = connections(config, any_kernel=True)
    listed = [
        event["network_event"]["cookie"] for event in scene.listed if event["network_event"]["direction"] == "ingress"
    ]
    assert sorted(event.network_event.cookie for event in found) == sorted(listed)
    assert {event.network_event.netns for event in found} == {
        Path("/proc/self/ns/net").stat().st_ino,
        Path(f"/proc/{scene.hidden}/ns/net").stat().st_ino,
    }
    assert all(event.process.cgroup for event in found)


@pytest.mark.once
def test_the_example_of_the_guide(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    guide = Path("docs/library.md").read_text().partition("## What is open now")[2]
    exec(guide.partition("```python\n")[2].partition("```")[0].replace("connections()", "connections(any_kernel=True)"))
    counts = {address: int(count) for count, address in map(str.split, capsys.readouterr().out.splitlines())}
    assert counts.keys() == {"127.0.0.1", "::1"}
    assert (counts["127.0.0.1"], counts["::1"]) == (2 * (7 + 2) + 2 * 5, 2 * 7)
