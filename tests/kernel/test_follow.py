"""`process_filter.pid` and `process_filter.descendants`: single processes, and trees of processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netmon import Config, ConfigError, Monitor, NetmonError
from tests.support.netmon_command import PROGRAMS
from tests.support.sockets import refused_connection
from tests.support.waiting import wait_until

DAEMON_RAN, ORPHAN_RAN = Path("/run/daemon"), Path("/run/orphan")
# A process that does what it is told, a line of Python each, and answers with a line each.
OBEDIENT = """
import os, socket, subprocess, sys, threading, time
def connect(host="127.0.0.1"):
    with socket.socket() as sock:
        sock.connect_ex((host, 1))
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Obedient:
    """A process that runs the Python that it is told, until it is closed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OBEDIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.do("pass")

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, code: str) -> str:
        """Have it run a line; return what that prints."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{code}\n")
        self.process.stdin.flush()
        printed = iter(self.process.stdout.readline, "done\n")
        return "".join(printed)

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def obedient() -> Iterator[Obedient]:
    process = Obedient()
    yield process
    process.close()


def config_of(**process_filter: object) -> Config:
    return Config.from_dict({"egress": {"enabled": True}, "process_filter": process_filter, "report": ESTABLISHES})


ESTABLISHES = {"events": ["establish"]}


@contextmanager
def reported(config: Config) -> Iterator[list[str]]:
    """Yield a list, and fill it on leaving with the peers that were connected to."""
    peers: list[str] = []
    with Monitor(config, any_kernel=True) as monitor:
        yield peers
        monitor.stop()
        peers += [event.network_event.daddr for event in monitor]
        assert monitor.losses.total == 0


CHILD = "subprocess.run([sys.executable, '-c', 'import socket; socket.socket().connect_ex((\"127.0.0.{}\", 1))'])"
THREAD_THAT_FORKS = (
    "t = threading.Thread(target=lambda: subprocess.run(['bash', '-c', 'echo >/dev/tcp/127.0.0.5/1'], "
    "stderr=subprocess.DEVNULL)); t.start(); t.join()"
)
# The parent ends at once, and the grandchild is in a session of its own.
DAEMON = (
    "os.fork() or (os.setsid(), os.fork() and os._exit(0), connect('127.0.0.6'), "
    "open('/run/daemon', 'w').close(), os._exit(0)); os.wait()"
)


@pytest.mark.core
def test_a_tree_is_followed_from_its_root_to_its_descendants(obedient: Obedient) -> None:
    """Those that ran before, and those that start later; nobody else."""
    obedient.do(
        "child = subprocess.Popen(['bash', '-c', 'read; echo >/dev/tcp/127.0.0.2/1'], "
        "stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)"
    )
    with reported(config_of(descendants=[obedient.pid])) as peers:
        refused_connection()  # a neighbour: this process, which is the root's parent
        obedient.do("connect()")
        obedient.do("child.communicate(b'\\n')")
        obedient.do(CHILD.format(3))
        obedient.do(f"subprocess.run(['{PROGRAMS}/vfork_connect', '1', '/bin/true'], stdout=subprocess.DEVNULL)")
        obedient.do(THREAD_THAT_FORKS)
        obedient.do(DAEMON)
        wait_until(lambda: DAEMON_RAN.exists(), "the daemon")
        DAEMON_RAN.unlink()
    # 127.0.0.1 twice: the root, and its child by vfork().
    assert sorted(peers) == [f"127.0.0.{number}" for number in (1, 1, 2, 3, 5, 6)]


@pytest.mark.core
def test_a_pid_is_followed_without_its_children(obedient: Obedient) -> None:
    with reported(config_of(pid=[obedient.pid])) as peers:
        refused_connection()
        obedient.do("connect('127.0.0.2')")
        obedient.do(CHILD.format(3))
        obedient.do("t = threading.Thread(target=connect, args=('127.0.0.4',)); t.start(); t.join()")
        obedient.do(
            "os.execv(sys.executable, [sys.executable, '-c', "
            '\'import socket; socket.socket().connect_ex(("127.0.0.5", 1)); print("done")\'])'
        )
    assert peers == ["127.0.0.2", "127.0.0.4", "127.0.0.5"]


def test_descendants_go_on_when_the_root_has_ended(obedient: Obedient) -> None:
    with reported(config_of(descendants=[obedient.pid])) as peers:
        obedient.do(
            "subprocess.Popen(['bash', '-c', 'read; echo >/dev/tcp/127.0.0.2/1; echo >/run/orphan'], "
            "stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, "
            "stderr=subprocess.DEVNULL)"
        )
        obedient.close()  # its end of the pipe is closed, too, which the child waits for
        wait_until(lambda: ORPHAN_RAN.exists(), "the orphan")
        ORPHAN_RAN.unlink()
    assert peers == ["127.0.0.2"]


def test_a_thread_that_execs_keeps_the_mark(obedient: Obedient) -> None:
    """Its task becomes the process; the one that was marked is gone."""
    code = "import socket; socket.socket().connect_ex(('127.0.0.2', 1)); print('done')"
    with reported(config_of(descendants=[obedient.pid])) as peers:
        obedient.do(f"threading.Thread(target=os.execv, args=(sys.executable, ['python', '-c', {code!r}])).start()\n")
    assert peers == ["127.0.0.2"]


def test_a_list_is_combined_with_other_keys(obedient: Obedient) -> None:
    """pid OR descendants is one condition, and all keys must match; deny_list inverts the result."""
    both = config_of(pid=[os.getpid()], descendants=[obedient.pid])
    curl = config_of(descendants=[obedient.pid], binary={"name": ["curl"]})
    others = config_of(descendants=[obedient.pid], deny_list=True)
    run_curl = "subprocess.run(['curl', '-s', 'http://127.0.0.3:1/'])"
    found = []
    for config in (both, curl, others):
        with reported(config) as peers:
            refused_connection()
            obedient.do("connect('127.0.0.2')")
            obedient.do(run_curl)
        found.append(peers)
    assert found == [["127.0.0.1", "127.0.0.2", "127.0.0.3"], ["127.0.0.3"], ["127.0.0.1"]]


@pytest.mark.once
def test_a_pid_that_is_used_again_is_not_followed() -> None:
    first = Obedient()
    with reported(config_of(pid=[first.pid])) as peers:
        first.close()
        wait_until(lambda: _fork_with(first.pid), "the pid again")
    assert peers == []


def _fork_with(pid: int) -> bool:
    """Have a child with this pid connect to 127.0.0.9; return whether there was one."""
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        if os.getpid() == pid:
            socket.socket().connect_ex(("127.0.0.9", 1))
        os._exit(0)
    os.waitpid(child, 0)
    return child == pid


@pytest.mark.once
def test_a_process_that_does_not_run_is_refused() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(ConfigError) as caught, Monitor(config_of(descendants=[ended.pid]), any_kernel=True):
        pass
    reason = "is not running; give the id of a process that runs"
    assert str(caught.value) == f"process_filter.descendants: {ended.pid} {reason}"


@pytest.mark.once
def test_a_reload_keeps_what_is_followed(obedient: Obedient) -> None:
    config = config_of(pid=[obedient.pid])
    with Monitor(config, any_kernel=True) as monitor:
        monitor.reload(config_of(pid=[obedient.pid], uid=[0]))
        with pytest.raises(NetmonError, match=r"process_filter\.pid cannot change while netmon runs"):
            monitor.reload(config_of(pid=[1]))
        with pytest.raises(NetmonError, match="follows no descendants: start it with"):
            monitor.follow(obedient.pid)
        obedient.do("connect('127.0.0.2')")
        assert [process.pid for process in monitor.followed()] == [obedient.pid]
        monitor.stop()
        assert [event.network_event.daddr for event in monitor] == ["127.0.0.2"]


@pytest.mark.once
def test_a_further_process_is_followed_while_the_monitor_runs(obedient: Obedient) -> None:
    other = Obedient()
    with Monitor(config_of(descendants=[obedient.pid]), any_kernel=True) as monitor:
        other.do("connect('127.0.0.2')")
        monitor.follow(other.pid)
        other.do("connect('127.0.0.3')")
        other.do(CHILD.format(4))
        assert {process.pid for process in monitor.followed()} == {obedient.pid, other.pid}
        other.close()
        with pytest.raises(ConfigError, match="is not running"):
            monitor.follow(other.pid)
        monitor.stop()
        assert [event.network_event.daddr for event in monitor] == ["127.0.0.3", "127.0.0.4"]


@pytest.mark.core
def test_a_fork_costs_little(kernel: str) -> None:
    """Where nothing is followed, fork has no program."""
    with Monitor(Config.everything(), any_kernel=True) as plain:
        names = {info.name for info in plain.program_infos()}
    with Monitor(config_of(descendants=[os.getpid()]), any_kernel=True) as monitor:
        (fork,) = [info for info in monitor.program_infos() if info.name not in names]
    print(kernel, fork)
    assert fork.name == "sched_process_fork_enter"
    assert fork.verified_instructions < 60
