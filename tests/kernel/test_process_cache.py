"""The probes keep each CPU's recent processes: what changes in a process between its connections is reported."""

from __future__ import annotations

import json
import os
import subprocess

from netmon.layout import TableSize
from tests.support.netmon_command import Netmon

# After each change it closes a connection that it opened before, connects four times, and prints the ports with what it
# knows of itself.
CHANGES = """
import ctypes, json, os, socket, struct, sys
port, parent_dies = int(sys.argv[1]), int(sys.argv[2])
container = 'fedcba9876543210' * 4
os.sched_setaffinity(0, {0})

held = []

def connect(**changed):
    sockets = []
    for each in held:
        each.close()
    for _ in range(4):
        sockets.append(socket.create_connection(('127.0.0.1', port)))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets[1:]:
        each.close()
    held[:] = sockets[:1]
    state = {'euid': os.geteuid(), 'egid': os.getegid(), 'ppid': os.getppid(), **changed}
    print(json.dumps([ports, state]), flush=True)

def set_capabilities(*masks):
    header = struct.pack('=Ii', 0x20080522, 0)
    assert ctypes.CDLL(None).capset(header, struct.pack('=6I', *masks, 0, 0, 0)) == 0

connect(container_id=None)
os.setegid(1000)
connect(container_id=None)
os.seteuid(1000)
connect(cap_effective='')
os.seteuid(0)
connect(cap_effective='ALL_CAPS')
directory = f'/sys/fs/cgroup/docker-{container}.scope'
os.makedirs(directory, exist_ok=True)
with open(directory + '/cgroup.procs', 'w') as file:
    file.write('0')
connect(container_id=container)
os.close(parent_dies)
while os.getppid() != 1:
    pass
connect(container_id=container)
with open('/proc/self/loginuid', 'w') as file:
    file.write('4711')
connect(auid=4711)
set_capabilities(1 << 7, 1 << 7, 0)
connect(cap_permitted='CAP_SETUID')
set_capabilities(0, 1 << 7, 0)
connect(cap_effective='')
held[0].set_inheritable(True)
os.execv(sys.executable, [sys.executable, '-c', f'''
import os, socket
os.close({held[0].fileno()})
for _ in range(4):
    socket.create_connection(('127.0.0.1', {port})).close()
''', 'after exec'])
"""

# Starts the other script, and ends when that has closed its end of the pipe.
PARENT = """
import os, subprocess, sys
reads, writes = os.pipe()
subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2], str(writes)], pass_fds=[writes])
os.close(writes)
os.read(reads, 1)
"""


def test_changes_between_connections_are_reported(netmon: Netmon, port: str) -> None:
    with netmon.watch() as seen:
        child = subprocess.run(["python3", "-c", PARENT, CHANGES, port], stdout=subprocess.PIPE, text=True, check=True)
    steps = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(steps) == 9
    for number, (ports, state) in enumerate(steps):
        reported = [event["process"] for event in seen if event["network_event"]["sport"] in ports]
        assert len(reported) == 8
        # The last close is of the connection that was held until the next change.
        assert [{key: process.get(key) for key in state} for process in reported[:7]] == [state] * 7
        after = steps[number + 1][1] if number + 1 < len(steps) else {}  # after an exec: see below
        assert {key: reported[7].get(key) for key in after} == after
    last = [event["process"] for event in seen][-9:]
    assert {process["args"].rpartition(" ")[2] for process in last} == {"exec"}
    assert len({event["process"]["pid"] for event in seen}) == 1


# Connects as user 2, with a socket that was made as user 1, and closes it as user 3, once the kernel has freed the
# credentials of user 2: memory that it uses again at once, and so for user 3. Then a thread connects twice as user 4,
# and the first thread closes one of these, as root. Prints the ports.
FREED_CREDENTIALS = """
import ctypes, json, os, socket, threading, time
listener = socket.create_server(('127.0.0.1', 0))
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 117, 'aarch64': 147}[os.uname().machine]  # setresuid, of this thread alone
membarrier = {'x86_64': 324, 'aarch64': 283}[os.uname().machine]
os.sched_setaffinity(0, {0})

def become(user):
    assert libc.syscall(number, -1, user, -1) == 0

def connect(opener):
    opener.connect(listener.getsockname())
    listener.accept()[0].close()
    return opener

def pause():
    libc.syscall(membarrier, 1, 0, 0)  # MEMBARRIER_CMD_GLOBAL: waits until no CPU uses what was replaced before

reused = []
for _ in range(100):
    become(1)
    each = socket.socket()
    become(0)
    become(2)
    connect(each)
    become(0)
    pause()
    time.sleep(0)
    become(3)
    reused.append(each.getsockname()[1])
    each.close()
    become(0)

found = []

def open_as_another_user():
    become(4)
    found.append(connect(socket.socket()))
    with connect(socket.socket()) as own:
        ports.append(own.getsockname()[1])

ports = []
thread = threading.Thread(target=open_as_another_user)
thread.start()
thread.join()
ports.append(found[0].getsockname()[1])
found[0].close()
print(json.dumps([reused, ports]))
"""


def test_credentials_in_the_memory_of_freed_ones_are_told_apart(netmon: Netmon) -> None:
    """Nor are those of a thread taken for those of another one of its process."""
    with netmon.watch() as seen:
        done = subprocess.run(["python3", "-c", FREED_CREDENTIALS], stdout=subprocess.PIPE, text=True, check=True)
    reused, (own, passed_on) = json.loads(done.stdout)
    users: dict[int, list[int]] = {}
    for event in seen:
        users.setdefault(event["network_event"]["sport"], []).append(event["process"]["euid"])
    assert [users[each] for each in reused] == [[2, 3]] * len(reused)
    assert users[own] == [4, 4]
    assert users[passed_on] == [4, 0]


# Connects once for each byte that it receives, and then prints a line.
CONNECT_WHEN_ASKED = """
import os, socket, sys
os.sched_setaffinity(0, {0})
while sys.stdin.buffer.raw.read(1):
    socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()
    print(flush=True)
"""


def start(port: str) -> subprocess.Popen[bytes]:
    command = ["python3", "-c", CONNECT_WHEN_ASKED, port]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def start_at_same_index(port: str, other: int) -> subprocess.Popen[bytes]:
    """Start it with a process id that has the other's index among a CPU's recent processes."""
    for _ in range(10 * TableSize.RECENT_PROCESSES):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        if (pid + 1) % TableSize.RECENT_PROCESSES == other % TableSize.RECENT_PROCESSES:
            child = start(port)
            if child.pid % TableSize.RECENT_PROCESSES == other % TableSize.RECENT_PROCESSES:
                return child
            end(child)
    raise AssertionError("no such process id came")


def end(child: subprocess.Popen[bytes]) -> None:
    child.communicate()
    assert child.returncode == 0


def connect(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin and child.stdout
    child.stdin.write(b".")
    assert child.stdout.read(1) == b"\n"


def test_processes_with_the_same_index_are_kept_apart(netmon: Netmon, port: str) -> None:
    with netmon.watch() as seen:
        first = start(port)
        second = start_at_same_index(port, first.pid)
        order = [first] * 3 + [second] * 3 + [first, second] * 2
        for child in order:
            connect(child)
        end(first)
        end(second)
    assert [event["process"]["pid"] for event in seen[::2]] == [child.pid for child in order]
