"""The process that reads a configuration file: what it gives, what it cannot do, and what becomes of its failures."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netmon import Config, ConfigError, NetmonError
from netmon.cli import config_process
from netmon.cli.config_process import ConfigProcess
from netmon.config import yaml_reader
from netmon.config.netns import inode_of
from netmon.errors import Problem
from netmon.filters import handover
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import CompiledFilters, Watched
from netmon.kernel import seccomp
from netmon.kernel.calls import syscall
from netmon.report import Report
from tests.support.compiled import in_memory
from tests.support.procfs import status_of
from tests.support.waiting import wait_until

COMPLETE = """
ingress: {enabled: true, port_filter: {src_port: [1], dst_port: [22, 8000-8999], match: all}}
egress: {enabled: true, ipv4_filter: {dst_ip: [10.0.0.0/8]}, ipv6_filter: {src_ip: ["2000::/3"], deny_list: true}}
netns_filter: {netns: [7, /proc/self/ns/net]}
process_filter:
  {uid: [0], gid: [3], pid: [1], descendants: [2], cgroup: [/d],
  binary: {name: [a], prefix: [/b], path: [/c], comm: [d]}}
report: {parent: true, exec: true, progress: 30s, events: [close]}
"""
NETNS = "egress: {enabled: true}\nnetns_filter: {netns: [/proc/self/ns/net]}\n"

# Prints the problems of a file, or the settings in it.
READ = """
import sys
from netmon.cli.config_process import ConfigProcess
from netmon.errors import ConfigError
try:
    print(ConfigProcess(sys.argv[1]).result()[1])
except ConfigError as error:
    print(error.problems)
"""

has_filters = pytest.mark.skipif(
    os.uname().machine not in seccomp.ARCHITECTURES, reason="there is no filter for this architecture"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "netmon.yaml"


def compiled(path: Path | str, text: str | None = None) -> CompiledFilters:
    """Return a file's filters, read by a process; with their keys in memory."""
    if text is not None:
        Path(path).write_text(text)
    filters, _ = ConfigProcess(str(path)).result()
    found = in_memory(filters)
    filters.release()
    return found


def test_a_file_gives_the_filters_that_the_library_compiles(path: Path) -> None:
    assert compiled(path, COMPLETE) == compile_filters(Config.from_yaml(path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "egress: [",
        "&a egress: *a",
        "egress: {enabled: maybe}\nprocess_filter: {uid: [-1], uids: [1], binary: {path: [x]}}\n",
        "egress: {enabled: true, ipv4_filter: {dst_ip: [10.0.0.1/8, 10.0.0.0/255.0.0.0, '::1', x]}}\n",
        "egress: {enabled: true}\nnetns_filter: {netns: [/run/netns/absent, /dev/null, blue]}\nreport: {events: [x]}\n",
        f"egress: {{enabled: true}}\nnetns_filter: {{netns: ['/{'x' * 5000}']}}\n",
        "".join(f"k{number}: 1\n" for number in range(9)),
        "egress: {enabled: true}\nreport: {progress: 0.1s, exec: 1, events: [progress]}\n",
        "egress: {enabled: true}\nreport: {progress: 30}\n",
        "egress: {enabled: true, port_filter: {dst_port: [no-service, 9-1, '443']}}",
        "egress: {enabled: true}\nprocess_filter: {uid: [1.5, '\u202e']}",
        "egress: {enabled: true, port_filter: {dst_port: [1], match: both}}\nrun: [1]\n",
        "egress: {enabled: true}\nrun: {ring_size: 3, aggregate: [1], batch_delay: , format: yaml, each: 1, rings: 2}",
        "egress: {enabled: true}\nrun: {fields: [type, process.pdi, 7]}",
        'egress: {enabled: true}\nrun: {record: "a\\0b", user: 0, template: "\\ud800"}',
        'egress: {enabled: true}\nrun: {"fi\\x65lds": [process.pdi]}\n',
        "egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n" + "    - x\n" * 3000,
    ],
)
def test_problems_are_those_that_the_library_finds(path: Path, text: str) -> None:
    """Also in a process that has imported nothing else: after giving up its rights it can import nothing more."""
    path.write_text(text)
    with pytest.raises(ConfigError) as expected:
        Config.from_yaml(path, resolve=True)
    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{expected.value.problems}\n", "")


@pytest.mark.parametrize(("name", "reason"), [("absent", "cannot be read: "), (".", "has no file that ends with ")])
def test_a_file_that_cannot_be_read(name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"^{name}: {reason}"):
        ConfigProcess(f"./{name}").result()


@pytest.mark.parametrize("path", ["a", "./a", "/a//b/./c/", "//a", "///a", ".", "", "./", "../a", "a/../b", "/", "//"])
def test_messages_name_the_file_as_the_library_does(path: str) -> None:
    assert config_process._normal(path) == str(Path(path))


def test_settings_of_the_run_are_handed_over(path: Path) -> None:
    path.write_text("egress: {enabled: true}\nrun: {ring_size: 64K, aggregate: 10s, each: false, fields: [type]}\n")
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    settings = {"aggregate": 10.0, "ring_size": 1 << 16, "fields": "type", "each": False}
    assert (done.stdout, done.stderr) == (f"{settings}\n", "")


def test_what_is_put_over_the_file_is_compiled(path: Path) -> None:
    path.write_text("egress: {enabled: true}\n")
    filters, _ = ConfigProcess(str(path), lambda config: config._replace(report=Report(parent=True))).result()
    assert filters.watched == Watched(ingress=False, egress=True, report=Report(parent=True))
    filters.release()


def test_network_namespaces_are_looked_up_by_the_caller(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may take rights, as that of another process does."""
    path.write_text(NETNS)
    process = ConfigProcess(str(path))
    monkeypatch.setattr("netmon.config.netns.inode_of", lambda netns: {"/proc/self/ns/net": 4242}[netns])
    filters, _ = process.result()
    assert filters.ids[4:8] == (4242).to_bytes(4, sys.byteorder)
    filters.release()


def in_the_process(act: Callable[[], Any], path: Path, monkeypatch: pytest.MonkeyPatch, text: str = "") -> Any:
    """Act in the process in place of parsing, and return what result() does."""
    monkeypatch.setattr(yaml_reader, "parse_yaml", lambda *_: act())
    path.write_text(text)
    return ConfigProcess(str(path)).result()


def answer(path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return what is found out in the process, as problems' sources and messages."""

    def refuse() -> None:
        raise ConfigError([Problem(name, None, (), None, message) for name, message in act().items()])

    with pytest.raises(ConfigError) as caught:
        in_the_process(refuse, path, monkeypatch)
    return {problem.source: problem.message for problem in caught.value.problems}


def error_of(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        return error.strerror or ""
    return ""


@has_filters
def test_it_can_do_nothing_but_compute(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, (reader, writer) = os.getpid(), os.pipe()
    tries: dict[str, Callable[[], object]] = {
        "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "make a file": lambda: os.open(path, os.O_WRONLY | os.O_CREAT),
        "remove a file": path.unlink,
        "change rights": lambda: path.chmod(0o777),
        "look at a file": path.stat,
        "list": lambda: [*path.parent.iterdir()],
        "signal": lambda: os.kill(parent, 0),
        "fork": os.fork,
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "connect": lambda: socket.socket(socket.AF_UNIX),
        "become": lambda: os.setuid(1234),
        "x32": lambda: syscall(seccomp.X32 | 2, b"/etc/passwd", 0),
    }
    no_descriptor = {"its output": 1, "messages": 2, "the caller's pipe": writer}

    def act() -> dict[str, str]:
        found = {name: error_of(one) for name, one in tries.items()}
        return found | {name: error_of(partial(os.write, fd, b"x")) for name, fd in no_descriptor.items()}

    found = answer(path, monkeypatch, act)
    os.close(reader)
    os.close(writer)
    assert found == {
        **dict.fromkeys(tries, "Operation not permitted"),
        **dict.fromkeys(no_descriptor, "Bad file descriptor"),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights")
def test_it_has_no_rights_while_it_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(NETNS)
    found: dict[str, Any] = {}
    process = ConfigProcess(str(path))

    def look(netns: int | str) -> int:
        status = status_of(process.pid)
        found.update({name: status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "NoNewPrivs", "Seccomp")})
        found["descriptors"] = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        found["limits"] = Path(f"/proc/{process.pid}/limits").read_text()
        return inode_of(netns)

    monkeypatch.setattr("netmon.config.netns.inode_of", look)
    process.result()[0].release()
    limits = {line[:26].strip(): line[26:].split()[1] for line in found.pop("limits").splitlines()}
    assert limits["Max data size"] == str(config_process.MAX_MEMORY)
    assert limits["Max file size"] == str(handover.MAX_SIZE)
    none = ["0" * 16]
    assert found == {
        "CapPrm": none,
        "CapEff": none,
        "CapInh": none,
        "CapBnd": none,
        "NoNewPrivs": ["1"],
        "Seccomp": ["2"],
        "descriptors": 3,  # the file that it writes, and the pipes of questions and answers
    }


def test_it_does_not_take_signals_that_are_meant_for_netmon(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(NETNS)
    process = ConfigProcess(str(path))

    def interrupt(netns: int | str) -> int:
        for number in config_process.IGNORED:
            os.kill(process.pid, number)
        return inode_of(netns)

    monkeypatch.setattr("netmon.config.netns.inode_of", interrupt)
    filters, _ = process.result()
    assert len(filters.ids) == 8
    filters.release()


def test_it_is_waited_for_where_the_ends_of_children_are_ignored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program ignores stays so in those that it starts."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert compiled(path, COMPLETE) == compile_filters(Config.from_yaml(path))
        with pytest.raises(NetmonError, match="0 bytes"):
            in_the_process(lambda: os._exit(3), path, monkeypatch)
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda: os._exit(3), "the process that reads it has failed with exit code 3"),
        (lambda: ctypes.string_at(0), "the process that reads it was killed by signal 11: is there enough memory?"),
        (lambda: 1 // 0, "ZeroDivisionError: integer division or modulo by zero"),
        (lambda: sys.exit("x" * 1000), "SystemExit: 'xxx"),
        (lambda: __import__("netmon.absent"), "has netmon been upgraded? Then start it again"),
    ],
)
def test_a_process_that_fails_is_one_clear_error(
    act: Callable[[], Any], reason: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NetmonError) as caught:
        in_the_process(act, path, monkeypatch)
    message = str(caught.value)
    assert not isinstance(caught.value, ConfigError)
    assert message.startswith("'/" if len(str(path)) > 80 else f"{path} cannot be used: ")
    assert reason in message
    assert len(message) < 400 and "\n" not in message


def test_too_much_memory_is_one_clear_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_process, "MAX_MEMORY", 256 << 20)
    with pytest.raises(NetmonError, match=r"GiB of memory, or than there is; shorten its lists$"):
        in_the_process(lambda: bytearray(512 << 20), path, monkeypatch)


def test_too_long_lists_are_one_clear_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MAX_SIZE", 5000)
    lines = "".join(f"    - 10.0.0.{number}\n" for number in range(250))
    assert len(compiled(path, "egress: {enabled: true}\n").ids) == 0
    text = f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n{lines}  port_filter: {{dst_port: [1]}}\n"
    with pytest.raises(NetmonError, match=r"its lists are too long for the kernel's maps; shorten them$"):
        compiled(path, text)


@pytest.mark.parametrize("question", [b"\5", b"\5\0abc", b"\0\0", b"\1\0\0", b"\1\0\xff"])
def test_a_question_that_is_none_is_one_clear_error(
    question: bytes, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_path: str, questions: int, _answers: int) -> int:
        os.write(questions, question)
        os._exit(0)

    monkeypatch.setattr(config_process, "_ask", ask)
    with pytest.raises(NetmonError, match=r"asks nonsense$"):
        compiled(path, NETNS)


def descriptors() -> set[Path]:
    return {*Path("/proc/self/fd").iterdir()}


def test_nothing_stays_open_and_no_process_is_left(path: Path) -> None:
    path.write_text("egress: {enabled: maybe}\n")
    before = descriptors()
    process = ConfigProcess(str(path))
    with pytest.raises(ConfigError):
        process.result()
    assert descriptors() == before
    assert not Path(f"/proc/{process.pid}").exists()


def test_it_ends_with_netmon(tmp_path: Path) -> None:
    """It waits for a file that nobody writes."""
    os.mkfifo(tmp_path / "fifo")
    program = (
        "import sys\nfrom netmon.cli.config_process import ConfigProcess\n"
        "process = ConfigProcess(sys.argv[1])\nprint(process.pid, flush=True)\nprocess.result()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "fifo")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as netmon:
        assert netmon.stdout is not None
        pid = int(netmon.stdout.readline())
        writer = os.open(tmp_path / "fifo", os.O_WRONLY)  # returns when the process opens it
        assert Path(f"/proc/{pid}/exe").exists()
        netmon.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}/exe").exists())
    os.close(writer)


def test_memory_that_is_shared_with_the_kernel_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is that of a file: the descriptors of maps are not to be had everywhere."""
    import mmap

    from netmon.kernel import rights

    with (path.parent / "shared").open("w+b") as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), 0) as memory:
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            monkeypatch.setattr(rights, "MAP_IN_MEMORY", "/shared")
            with pytest.raises(NetmonError, match="was killed by signal 11"):
                in_the_process(lambda: ctypes.string_at(address, 1), path, monkeypatch)
