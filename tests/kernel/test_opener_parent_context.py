"""`report.opener`, `report.parent`, `report.context`: the processes behind a connection, and its network namespace."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from netmon import Config
from tests.support.connecting_process import CONNECT_ONCE, connected, in_child, process_of, read_expected
from tests.support.filtered_monitors import Filtered, events_so_far
from tests.support.json_events import Event, types_of
from tests.support.netmon_command import Netmon
from tests.support.procfs import auid_of, status_of
from tests.support.sockets import connect_pair, cookie_of, leave_to_child, listen, refused_connection

pytestmark = pytest.mark.netmon_flags("--opener", "--parent", "--context")

CLONE_NEWNET = 0x40000000
SO_MARK = 36

# Python code for the cookie of a program's socket s.
COOKIE = "int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)"


def close_of(events: list[Event], cookie: int) -> Event:
    """Return the one close of a socket."""
    (close,) = (
        event for event in events if event["network_event"]["cookie"] == cookie and types_of([event]) == ["Close"]
    )
    return close


def passes_by_fork(sock: socket.socket) -> int:
    """A forked child holds the last copy."""
    return leave_to_child(sock, sock.close)


def passes_by_message(sock: socket.socket) -> int:
    """Send it (SCM_RIGHTS) to a program that was started earlier and so cannot have inherited it."""
    ours, theirs = socket.socketpair()
    script = (
        "import os, socket, sys\n"
        f"with socket.socket(fileno={theirs.fileno()}) as s:\n"
        "    _, fds, _, _ = socket.recv_fds(s, 1, 1)\n"
        "    s.recv(1)\n"
        "    os.close(fds[0])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], pass_fds=[theirs.fileno()])
    socket.send_fds(ours, [b"x"], [sock.fileno()])
    sock.close()
    ours.send(b"x")
    assert child.wait() == 0
    ours.close()
    theirs.close()
    return child.pid


@pytest.mark.core
@pytest.mark.parametrize("end", ["client", "server"])
@pytest.mark.parametrize("passes", [passes_by_fork, passes_by_message])
def test_a_close_by_another_process_names_the_opener(
    netmon: Netmon, listener: socket.socket, passes: Callable[[socket.socket], int], end: str
) -> None:
    """The close has the last holder as its process, and the thread that opened it as its opener."""
    with netmon.watch() as seen:
        pair = connect_pair(listener, listener.getsockname())
        passed, kept = (pair.client, pair.server) if end == "client" else (pair.server, pair.client)
        cookies = cookie_of(passed), cookie_of(kept)
        closer = passes(passed)
        kept.close()
    opening = next(event for event in seen if event["network_event"]["cookie"] == cookies[0])
    close = close_of(seen, cookies[0])
    assert (opening["process"]["pid"], close["process"]["pid"]) == (os.getpid(), closer)
    assert close["opener"] == opening["process"]
    assert [event for event in seen if "opener" in event] == [close]
    assert list(close) == ["type", "process", "parent", "opener", "network_event", "timestamp"]


def test_an_opener_that_has_ended_is_named(netmon: Netmon, listener: socket.socket) -> None:
    """A thread opens the connection; its process ends and leaves it to a child."""
    script = (
        "import os, socket, sys, threading\n"
        "def connect():\n"
        "    global s\n"
        f"    s = socket.create_connection({listener.getsockname()})\n"
        f"    print(threading.get_native_id(), {COOKIE}, flush=True)\n"
        "thread = threading.Thread(target=connect)\n"
        "thread.start()\n"
        "thread.join()\n"
        "read_end, write_end = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(write_end)\n"
        "    os.read(read_end, 1)\n"  # until the parent has ended
        "    s.close()\n"
        "    print('closed', flush=True)\n"
    )
    with netmon.watch() as seen:
        program = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        tid, cookie, closed = program.stdout.split()
        assert closed == "closed"
        listener.accept()[0].close()
    close = close_of(seen, int(cookie))
    opening = next(event for event in seen if event["network_event"]["cookie"] == int(cookie))
    assert close["opener"] == opening["process"]
    assert close["opener"]["tid"] == int(tid) != close["opener"]["pid"]
    assert close["opener"]["pid"] != close["process"]["pid"]


def accept_and_close(listener: socket.socket) -> None:
    listener.accept()[0].close()


def connect_and_setuid(listener: socket.socket) -> None:
    sock = socket.create_connection(listener.getsockname())
    os.setuid(1000)
    sock.close()


def connect_and_exec(listener: socket.socket) -> None:
    """Leave the socket open until the new program ends."""
    sock = socket.create_connection(listener.getsockname())
    sock.set_inheritable(True)
    os.execv("/bin/true", ["true"])


@pytest.mark.parametrize("work", [accept_and_close, connect_and_setuid, connect_and_exec])
def test_a_close_by_the_opener_names_no_opener(
    netmon: Netmon, listener: socket.socket, work: Callable[[socket.socket], None]
) -> None:
    """Although the listener is its parent's (prefork servers), and although its credentials or its program changed."""
    with netmon.watch() as seen:
        client = socket.create_connection(listener.getsockname()) if work is accept_and_close else None
        child = in_child(lambda: work(listener))
        if client:
            client.close()
        else:
            listener.accept()[0].close()
    mine = [event for event in seen if event["process"]["pid"] == child]
    assert len(mine) == 2
    assert not [event for event in seen if "opener" in event]


def test_a_socket_activated_program_is_the_opener(netmon: Netmon) -> None:
    """The parent listens, and starts a program that accepts."""
    script = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).accept()[0].close()"
    with netmon.watch() as seen, listen() as listener:
        fd = listener.fileno()
        child = subprocess.Popen([sys.executable, "-c", script, str(fd)], pass_fds=[fd])
        socket.create_connection(listener.getsockname()).close()
        assert child.wait() == 0
    mine = [event for event in seen if event["process"]["pid"] == child.pid]
    assert types_of(mine) == ["Accept", "Close"]
    assert {event["parent"]["pid"] for event in mine} == {os.getpid()}
    assert not [event for event in seen if "opener" in event]


def expected_parent() -> dict[str, Any]:
    """Read from /proc what must be reported of this process as a parent."""
    status = status_of()
    cmdline = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
    exe = str(Path("/proc/self/exe").readlink())
    return {
        "pid": os.getpid(),
        "tid": os.getpid(),
        "ppid": os.getppid(),
        "uid": int(status["Uid"][0]),
        "euid": int(status["Uid"][1]),
        "gid": int(status["Gid"][0]),
        "egid": int(status["Gid"][1]),
        "auid": auid_of(),
        "cap_effective": "ALL_CAPS",
        "secureexec": "",
        "filename": exe.rpartition("/")[2],
        "binary_path": exe,
        "args": b" ".join(cmdline).decode(),
    }


def test_a_parent_without_connections_is_described() -> None:
    """With another netmon than the shared one: this one must not know the parent as a process with connections."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    with Netmon("--parent") as netmon:
        child = in_child(refused_connection)
        netmon.wait_until(lambda: len(netmon.events) == 2, "the child's events")
        refused_connection()  # now this process has events, and a parent
        ended = netmon.stop()
    assert ", 0 lost" in ended.stderr
    events = ended.events
    assert [event["process"]["pid"] for event in events] == [child] * 2 + [os.getpid()] * 2
    parent, own = events[0]["parent"], events[2]["process"]
    assert events[1]["parent"] == parent
    assert {key: parent[key] for key in expected_parent()} == expected_parent()
    reported = datetime.strptime(parent["start_time"] + "+0000", "%Y-%m-%dT%H:%M:%S.%fZ%z")
    assert abs(reported.timestamp() - (boot + started)) < 0.02  # a clock tick is 10 ms
    assert parent == own
    assert events[2]["parent"]["pid"] == os.getppid()
    assert list(events[0]) == ["type", "process", "parent", "network_event", "timestamp"]


def test_a_child_gets_another_parent_when_its_own_ends(netmon: Netmon, port: str) -> None:
    """Each event names the parent at its time, and ppid agrees with it."""
    script = (
        "import os, socket\n"
        "read_end, write_end = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(write_end)\n"
        f"    s = socket.create_connection(('127.0.0.1', {port}))\n"
        "    print(os.getpid(), flush=True)\n"
        "    os.read(read_end, 1)\n"
        "    while os.getppid() == parent: pass\n"
        "    s.close()\n"
        "    print(os.getppid(), flush=True)\n"
        "else:\n"
        "    os.close(read_end)\n"
        "    input()\n"
    ).replace("read_end, write_end", "parent = os.getpid()\nread_end, write_end", 1)
    with netmon.watch() as seen:
        program = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        child = int(program.stdout.readline())
        netmon.wait_for_process(child)
        out, _ = program.communicate("\n")
    opening, close = (event for event in seen if event["process"]["pid"] == child)
    assert opening["parent"]["pid"] == opening["process"]["ppid"] == program.pid
    assert opening["parent"]["args"] == f"-c {script}"
    assert close["parent"]["pid"] == close["process"]["ppid"] == int(out)
    assert close["parent"]["binary_path"] == str(Path(f"/proc/{int(out)}/exe").readlink())


def test_arguments_of_a_parent_that_has_ended_are_counted_as_incomplete(filtered: Filtered, port: str) -> None:
    """The kernel reports all of it but the arguments, which netmon reads from /proc."""
    monitor = filtered(Config.from_dict({"egress": {"enabled": True}, "report": {"parent": True}}))
    before = monitor.losses.args_incomplete
    script = f"{CONNECT_ONCE} {port} < /dev/null; exit 0"
    subprocess.run(["/bin/bash", "-c", script], stdout=subprocess.DEVNULL, check=True)
    opening, close = events_so_far(monitor)
    assert opening.parent is not None
    assert opening.parent == close.parent
    assert (opening.parent.pid, opening.parent.args) == (opening.process.ppid, "")
    assert opening.parent.binary_path == os.path.realpath("/bin/bash")
    assert monitor.losses.args_incomplete == before + 1


def test_every_thread_of_a_new_process_has_the_parent(netmon: Netmon) -> None:
    """All threads connect first at the same time."""

    def connect() -> None:
        threads = [threading.Thread(target=refused_connection) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with netmon.watch() as seen:
        child = in_child(connect)
    mine = [event for event in seen if event["process"]["pid"] == child]
    assert {event["parent"]["pid"] for event in mine} == {os.getpid()}
    assert len(mine) >= 30  # 32, of which two may be missed by preemption


def test_no_parent_is_described_for_a_process_that_is_filtered_out(filtered: Filtered) -> None:
    config = {
        "egress": {"enabled": True},
        "report": {"parent": True},
        "process_filter": {"binary": {"name": ["other"]}},
    }
    monitor = filtered(Config.from_dict(config))
    before = monitor.counters.processes_described
    in_child(refused_connection)
    assert events_so_far(monitor) == []
    assert monitor.counters.processes_described == before


def network_of(event: Event) -> dict[str, Any]:
    return {key: event["network_event"].get(key) for key in ("netns", "ifindex", "mark")}


def own_netns() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


@contextmanager
def other_netns() -> Iterator[None]:
    """Run this thread in a new network namespace with a loopback device."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


@pytest.mark.core
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=str)
def test_both_ends_have_their_context(netmon: Netmon, family: socket.AddressFamily) -> None:
    """From opening to close. A mark belongs to one socket, not to its peer."""
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with netmon.watch() as seen, listen(address, family) as listener, socket.socket(family) as client:
        client.setsockopt(socket.SOL_SOCKET, SO_MARK, 42)
        client.connect(listener.getsockname())
        listener.accept()[0].close()
        cookie = cookie_of(client)
        client.close()
    assert sorted(types_of(seen)) == ["Accept", "Close", "Close", "Establish"]
    for event in seen:
        mark = 42 if event["network_event"]["cookie"] == cookie else 0
        assert network_of(event) == {"netns": own_netns(), "ifindex": socket.if_nametoindex("lo"), "mark": mark}
        assert "handshake_us" not in event["network_event"]
        assert "closed_by" not in event["network_event"]


def test_the_network_namespace_is_the_sockets(netmon: Netmon) -> None:
    """The process has left that namespace."""
    with netmon.watch() as seen:
        with other_netns():
            listener = listen()
            client = socket.socket()
            other = own_netns()
        assert other != own_netns()
        client.connect(listener.getsockname())
        listener.accept()[0].close()
        client.close()
        listener.close()
    assert len(seen) == 4
    assert {event["network_event"]["netns"] for event in seen} == {other}


@pytest.mark.parametrize("cgroup", ["", "system.slice/a b.service"], ids=["the root", "a unit"])
def test_the_process_has_its_cgroup(netmon: Netmon, port: str, cgroup: str) -> None:
    directory = Path("/sys/fs/cgroup") / cgroup
    directory.mkdir(parents=True, exist_ok=True)
    with (
        netmon.watch() as seen,
        connected([CONNECT_ONCE, port], preexec_fn=lambda: (directory / "cgroup.procs").write_text("0")) as subject,
    ):
        (line,) = (
            line for line in Path(f"/proc/{subject.pid}/cgroup").read_text().splitlines() if line.startswith("0::")
        )
        expected = {**read_expected(subject), "cgroup": line.removeprefix("0::")}
    process = process_of(seen, subject.pid)
    assert {key: process[key] for key in expected} == expected
    assert process["cgroup"] == f"/{cgroup}"


def test_all_options_go_together() -> None:
    """Existing connections, outcomes and statistics have their own keys and these."""
    with listen() as listener:
        pair = connect_pair(listener, listener.getsockname())
        flags = ("--existing", "--outcome", "--statistics", "--opener", "--parent", "--context")
        with Netmon(*flags) as netmon:
            netmon.wait_until(lambda: len(netmon.events) == 2, "the existing connections")
            closer = passes_by_fork(pair.client)
            pair.server.close()
            cookie = refused_connection()
            again = connect_pair(listener, listener.getsockname())
            other_closer = passes_by_fork(again.client)
            again.server.close()
            ended = netmon.stop()
    assert ", 0 lost" in ended.stderr
    events = ended.events
    kinds = ["Accept", "Close", "Close", "Close", "Close", "Establish", "Existing", "Existing", "Fail"]
    assert sorted(types_of(events)) == kinds
    for event in events:
        assert event["network_event"]["netns"] == own_netns()
        assert event["parent"]["pid"] == event["process"]["ppid"]
        assert event["process"]["cgroup"] == event["parent"]["cgroup"]
        kind, network = types_of([event])[0], event["network_event"]
        assert ("handshake_us" in network) == (kind == "Establish")
        assert ("closed_by" in network) == (kind == "Close")
        assert ("reason" in network) == (kind == "Fail")
        assert ("direction" in network) == (kind == "Existing")
    (failure,) = (event for event in events if types_of([event]) == ["Fail"])
    assert failure["network_event"]["cookie"] == cookie
    for opened, child in ((pair.client_cookie, closer), (again.client_cookie, other_closer)):
        close = close_of(events, opened)
        assert (close["process"]["pid"], close["opener"]["pid"]) == (child, os.getpid())
    assert sum("opener" in event for event in events) == 2
