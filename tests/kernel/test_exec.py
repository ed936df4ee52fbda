"""`netmon exec`: each connection of a command and of its descendants, none of anybody else, and its own exit code."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import pwd
import signal
import subprocess
import sys
import termios
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.guide import example
from tests.support.json_events import Event
from tests.support.netmon_command import PROGRAMS
from tests.support.sockets import refused_connection
from tests.support.waiting import DEADLINE, wait_until

EXEC = [sys.executable, "-m", "netmon", "exec", "--any-kernel"]
NOBODY = 65534
USER = 1000  # who may call sudo: vm/image.py

# Each connects to an address of its own, where nobody listens.
CONNECT = "import socket; socket.socket().connect_ex(('127.0.0.{}', 1))"
THREAD_THAT_FORKS = """
import os, socket, threading
def fork():
    if os.fork() == 0:
        socket.socket().connect_ex(("127.0.0.16", 1))
        os._exit(0)
    os.wait()
thread = threading.Thread(target=fork)
thread.start()
thread.join()
"""
POSIX_SPAWN = f"""
import os, sys
os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", {CONNECT.format(17)!r}], os.environ), 0)
"""
# In a session of its own, and nobody's child. It says that it has ended, since nobody can wait for it.
DAEMON = """
import os, socket, sys
done, end = os.pipe()
os.set_inheritable(end, True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(done)
        while os.getppid() == os.getsid(0):
            pass
        socket.socket().connect_ex(("127.0.0.18", 1))
    os._exit(0)
os.close(end)
os.read(done, 1)
"""
# In bash itself: the effective and the permitted ones.
SHOW_CAPABILITIES = "while read name set; do [[ $name != Cap[EP]* ]] || echo $set; done </proc/self/status"
CONNECT_TO = "echo >/dev/tcp/127.0.0.{}/1"
SCRIPT = """
exec 2>/dev/null
echo >/dev/tcp/127.0.0.10/1
{ echo x; echo >/dev/tcp/127.0.0.11/1; } | { cat; echo >/dev/tcp/127.0.0.12/1; } | cat >/dev/null
for number in {20..27}; do bash -c "echo >/dev/tcp/127.0.0.$number/1" & done; wait
(setsid bash -c 'echo >/dev/tcp/127.0.0.13/1') & wait
curl -s http://127.0.0.14:1/
"$SUBJECT" 1
"$PYTHON" -c "$THREAD_THAT_FORKS"
"$PYTHON" -c "$POSIX_SPAWN"
"$PYTHON" -c "$DAEMON"
"$VFORK" 1 /bin/true
exit 3
"""
# How often each address is connected to: 127.0.0.1 by the setuid program, and by the one that calls vfork().
EXPECTED = Counter({f"127.0.0.{number}": 1 for number in (*range(10, 15), *range(16, 19), *range(20, 28))})
EXPECTED["127.0.0.1"] = 2


def run(*command: str, flags: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `netmon exec` to its end."""
    options = {"capture_output": True, "text": True, "timeout": 2 * DEADLINE, **options}
    return subprocess.run([*EXEC, *flags, "--", *command], **options)


def events_in(text: str) -> list[Event]:
    """Return the events among the lines of standard error."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def peers_of(events: Sequence[Event], kind: str = "TcpConnectionEstablish") -> Counter[str]:
    return Counter(event["network_event"]["daddr"] for event in events if event["network_event"]["type"] == kind)


@pytest.fixture
def neighbour() -> Iterator[None]:
    """Somebody else who connects all the time: this process."""
    ended = threading.Event()

    def connect() -> None:
        while not ended.wait(0.02):
            refused_connection()

    thread = threading.Thread(target=connect)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.core
@pytest.mark.usefixtures("neighbour")
def test_each_connection_of_each_descendant_is_reported_once(copy: Path, tmp_path: Path) -> None:
    """Pipelines, parallel jobs, a new session, setuid, threads that fork, posix_spawn, a daemon, vfork."""
    os.chown(copy, NOBODY, NOBODY)
    copy.chmod(0o4755)
    output = tmp_path / "events"
    programs = {"SUBJECT": str(copy), "PYTHON": sys.executable, "VFORK": f"{PROGRAMS}/vfork_connect"}
    scripts = {"THREAD_THAT_FORKS": THREAD_THAT_FORKS, "POSIX_SPAWN": POSIX_SPAWN, "DAEMON": DAEMON}
    ended = run(*("bash", "-c", SCRIPT), flags=["--output", str(output)], env={**os.environ, **programs, **scripts})
    events = events_in(output.read_text())
    assert (ended.returncode, ended.stdout) == (3, "")
    assert peers_of(events) == EXPECTED
    assert peers_of(events, "TcpConnectionClose") == EXPECTED
    users = {event["process"]["euid"] for event in events if event["network_event"]["daddr"] == "127.0.0.1"}
    assert users == {0, NOBODY}
    assert ended.stderr == f"netmon: {2 * EXPECTED.total()} events, 0 lost\n"


@pytest.mark.once
def test_input_and_output_are_the_commands_own_and_events_go_to_standard_error() -> None:
    ended = run("bash", "-c", f"cat; {CONNECT_TO.format(10)}; kill -TERM $$", input="text\n")
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, "text\n")
    assert peers_of(events_in(ended.stderr)) == {"127.0.0.10": 1}


@pytest.mark.once
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [("/nowhere/command", 127, "not found"), ("/etc/passwd", 126, "Permission denied")],
)
def test_a_command_that_cannot_run(command: str, code: int, says: str) -> None:
    ended = run(command)
    assert ended.returncode == code
    assert ended.stderr.splitlines()[0] == f"netmon: {command}: {says}"


@pytest.mark.once
def test_a_start_that_fails_starts_no_command(tmp_path: Path) -> None:
    ended = run("touch", str(tmp_path / "started"), flags=["--user", "no-such-user"])
    assert ended.returncode == 125
    assert ended.stderr.startswith("netmon: --user: there is no user no-such-user")
    assert not (tmp_path / "started").exists()


@pytest.mark.once
def test_under_sudo_the_command_is_the_users() -> None:
    script = "id -u; id -g; echo $HOME $USER; echo ${SUDO_UID-unset}; echo >/dev/tcp/127.0.0.10/1"
    sudo = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY), "SUDO_USER": "nobody", "HOME": "/root", "USER": "root"}
    ended = run("bash", "-c", script, env={**os.environ, **sudo})
    assert ended.stdout.split() == [str(NOBODY), str(NOBODY), pwd.getpwuid(NOBODY).pw_dir, "nobody", "unset"]
    assert {event["process"]["uid"] for event in events_in(ended.stderr)} == {NOBODY}
    kept = run("id", "-u", flags=["--root"], env={**os.environ, **sudo})
    assert kept.stdout == "0\n"


@pytest.mark.once
def test_sudo_itself() -> None:
    """The user 1000 calls the real one; the command is that user's again, without any right of root's."""
    made = Path("/tmp/made-under-sudo")  # pytest's own directories are root's
    script = (
        f"id -u; id -g; id -G; echo $HOME $USER ${{SUDO_UID-unset}}; {SHOW_CAPABILITIES}; "
        f"touch {made}; {CONNECT_TO.format(10)}; exit 7"
    )
    sudo = ["sudo", "--non-interactive", "--preserve-env=PYTHONPATH", *EXEC, "--format", "json", "--outcome", "--"]
    ended = subprocess.run(
        [*sudo, "bash", "-c", script], user=USER, group=USER, extra_groups=[], capture_output=True, text=True, cwd="/"
    )
    assert ended.returncode == 7, ended.stderr
    words = ended.stdout.split()
    assert words[:6] == ["1000", "1000", "1000", "/tmp", "user", "unset"]
    assert [int(word, 16) for word in words[6:]] == [0, 0]
    assert made.stat().st_uid == USER
    (event,) = events_in(ended.stderr)
    assert (event["network_event"]["daddr"], event["process"]["uid"]) == ("127.0.0.10", USER)


@pytest.mark.once
def test_descendants_that_go_on_are_said_or_waited_for(tmp_path: Path) -> None:
    script = f"(read <$FIFO; {CONNECT_TO.format(10)}) >/dev/null 2>&1 & echo started"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    environment = {**os.environ, "FIFO": str(fifo)}
    left = run("bash", "-c", script, env=environment)
    assert "netmon: 1 process of the command (bash[" in left.stderr
    assert "]) goes on and is not watched any more; --wait-all waits\n" in left.stderr
    fifo.write_text("\n")
    waiting = subprocess.Popen(
        [*EXEC, "--wait-all", "--", "bash", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr
    assert "waits for 1 process of the command (bash[" in waiting.stderr.readline()
    fifo.write_text("\n")
    _, stderr = waiting.communicate(timeout=DEADLINE)
    assert waiting.returncode == 0
    assert peers_of(events_in(stderr)) == {"127.0.0.10": 1}


COUNT_INTERRUPTS = """
import signal, socket, sys
hits = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: hits.append(number))
print("started", flush=True)
while len(hits) < 2:
    signal.pause()
socket.socket().connect_ex(("127.0.0.10", 1))
sys.exit(sorted(hits) == [signal.SIGINT, signal.SIGTERM] and 7)
"""


@pytest.mark.core
def test_signals_reach_the_command_once(tmp_path: Path) -> None:
    """Ctrl-C comes from the terminal to all; what is sent to netmon alone is passed on."""
    master, slave = pty.openpty()
    output = tmp_path / "events"
    process = subprocess.Popen(
        [*EXEC, "--format", "json", "--output", str(output), "--", sys.executable, "-c", COUNT_INTERRUPTS],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    shown = b""

    def started() -> bool:
        nonlocal shown
        shown += os.read(master, 4096)
        return b"started" in shown

    wait_until(started, "the start")
    os.write(master, b"\x03")
    wait_until(lambda: b"^C" in os.read(master, 4096), "Ctrl-C")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 7
    assert peers_of(events_in(output.read_text())) == {"127.0.0.10": 1}
    os.close(master)
    os.close(slave)


@pytest.mark.once
@pytest.mark.usefixtures("neighbour")
def test_a_program_runs_a_command_and_gets_its_connections(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the library's guide, with another command."""
    script = f"exec 2>/dev/null; {CONNECT_TO.format(10)}; bash -c '{CONNECT_TO.format(11)}'; exit 3"
    names: dict[str, Any] = {}
    exec(example("Run a command").replace('["make", "-j4"]', repr(["bash", "-c", script])), names)
    *lines, code = capsys.readouterr().out.splitlines()
    assert Counter(line.split()[-2] for line in lines) == {"127.0.0.10": 2, "127.0.0.11": 2}
    assert (code, names["run"].monitor.losses.total) == ("3", 0)


@pytest.mark.once
def test_a_report_in_place_of_events(tmp_path: Path) -> None:
    script = f"{CONNECT_TO.format(10)}; {CONNECT_TO.format(10)}; exit 4"
    reports = {}
    for form in ("json", "markdown"):
        output = tmp_path / form
        ended = run("bash", "-c", script, flags=["--report", form, "--output", str(output)])
        assert ended.returncode == 4
        reports[form] = output.read_text()
    (entry,) = json.loads(reports["json"])
    assert (entry["binary_path"].rpartition("/")[2], entry["peer"], entry["port"]) == ("bash", "127.0.0.10", 1)
    assert (entry["connections"], entry["failed"], entry["reasons"]) == (0, 2, {"refused": 2})
    *_, row = reports["markdown"].splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [*cells[:2], *cells[4:]] == ["bash", r"-\> 127.0.0.10:1", "0", r"2 (refused)", "0B", "0B"]
