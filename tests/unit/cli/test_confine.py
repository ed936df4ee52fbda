"""What a process can still do after confine(): tried from inside, in forked children of this process."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from netmon import BpfError, NetmonError
from netmon.capabilities import CAPABILITIES, capability_mask
from netmon.cli.confine import User, confine, find_user
from netmon.kernel import landlock, rights, seccomp
from netmon.kernel.bpf import BpfObject, Map, MapKind, update_map
from netmon.kernel.calls import syscall
from netmon.kernel.rights import CapabilitySets
from tests.support.procfs import status_of
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import PROGRAM, object_file
from tests.support.socket_filter import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights")

ALL = capability_mask(*CAPABILITIES)
BPF, READ_ANY = capability_mask("BPF"), capability_mask("DAC_READ_SEARCH")
MIX = MIXES["1 process, IPv4"]
HASH = MapKind(1, 4, 4, 0)  # BPF_MAP_TYPE_HASH
EVENTS = 2000


def landlock_version() -> int:
    """Return the version of this kernel's Landlock; 0 without it."""
    try:
        return syscall(landlock.CREATE_RULESET, None, 0, landlock.CREATE_RULESET_VERSION)
    except OSError:
        return 0


has_filters = pytest.mark.skipif(
    os.uname().machine not in seccomp.ARCHITECTURES, reason="there is no filter for this architecture"
)
needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")

# `netmon run` on two outputs, whose records are sent before it gives up its rights.
ON_TWO_OUTPUTS = """
import os, sys
from netmon.cli import main, run
from netmon.outputs.base import Output
from tests.support.ring_filler import Filler
from tests.unit.cli.test_confine import EVENTS, MIX
run_with = run.run_with
def open_filler(filters, ring_size, *, aggregate):
    filler = Filler(MIX, ring_size)
    filler.send(1 + EVENTS)
    return filler
def run_on_two(outputs, options, signals, **view):
    file = Output("file", os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT))
    return run_with([*outputs, file], options, signals, open_filler, **view)
run.run_with = run_on_two
sys.exit(main.main(["run", "--any-kernel", *sys.argv[2:]]))
"""


def confined(
    act: Callable[[], Any],
    *,
    prepare: Callable[[], object] = lambda: None,
    makes_maps: bool = False,
    config_file: Path | None = None,
    look: Callable[[], object] = lambda: None,
    user: User | None = None,
    reads: Sequence[Path] = (),
) -> Any:
    """Confine a forked child, act there, and return what that returned, by way of JSON.

    prepare: is called in the child before that.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            path = None if config_file is None else str(config_file)
            prepare()
            confine(look, makes_maps=makes_maps, config_file=path, user=user, reads=[*map(str, reads)])
            os.write(write_end, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def sets_of(status: dict[str, list[str]]) -> dict[str, int]:
    return {name: int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


def error_of(call: Callable[[], Any]) -> str:
    """Return the name of the error that a call raises; "" if it succeeds."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def test_no_capability_is_left() -> None:
    status = confined(status_of)
    assert sets_of(status) == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert status["NoNewPrivs"] == ["1"]


def test_a_run_that_makes_maps_keeps_the_capability_for_them_alone() -> None:
    def act() -> Any:
        return sets_of(status_of()), error_of(lambda: Map(HASH, "made", 1))

    sets, error = confined(act, makes_maps=True)
    assert sets == {"CapInh": 0, "CapPrm": BPF, "CapEff": BPF, "CapBnd": 0, "CapAmb": 0}
    assert error == ""


def test_maps_that_were_made_before_can_be_used() -> None:
    made = Map(HASH, "made", 2)

    def act() -> Any:
        update_map(made.fd, b"\1\0\0\0\2\0\0\0", 4, b"\3\0\0\0")
        return [value.hex() for _, value in made.items()]

    assert confined(act) == ["03000000"] * 2
    made.close()


def test_root_can_do_no_more_than_an_ordinary_user(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_text("")
    private.chmod(0o600)
    os.chown(private, 1000, 1000)
    tries: dict[str, Callable[[], Any]] = {
        "read": lambda: private.read_text(),
        "chown": lambda: os.chown(tmp_path, 1000, 1000),
        "setuid": lambda: os.setuid(1000),
        "kill": lambda: os.kill(other.pid, 0),
        "chroot": lambda: os.chroot(tmp_path),
    }
    with subprocess.Popen(["sleep", "60"], user=1000, group=1000) as other:
        errors = confined(lambda: {name: error_of(call) for name, call in tries.items()})
        other.kill()
    assert errors == {
        "read": "EACCES",
        "chown": "EPERM",
        "setuid": "EPERM",
        "kill": "EPERM",
        "chroot": "EPERM",
    }


def test_what_it_executes_gets_no_rights_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel without Landlock and filters it can execute something."""
    monkeypatch.setattr(landlock, "forbid_changes", refuse)
    monkeypatch.setattr(seccomp, "refuse_calls", refuse)

    def act() -> Any:
        done = subprocess.run(["grep", "^Cap", "/proc/self/status"], capture_output=True, text=True)
        return done.stdout.split()[1::2]

    assert {*confined(act, makes_maps=True)} == {"0" * 16}


def refuse(*_rights: object, **_arguments: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@needs_landlock
def test_files_can_be_read_but_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "refuse_calls", refuse)
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.write_text("text")
    directory.mkdir()
    tries: dict[str, Callable[[], Any]] = {
        "write": lambda: file.open("r+"),
        "append": lambda: file.open("a"),
        "make": lambda: (tmp_path / "new").open("x"),
        "make directory": lambda: (tmp_path / "new").mkdir(),
        "make socket": lambda: socket.socket(socket.AF_UNIX).bind(str(tmp_path / "new")),
        "make pipe": lambda: os.mkfifo(tmp_path / "new"),
        "link": lambda: (tmp_path / "new").symlink_to(file),
        "rename": lambda: file.rename(tmp_path / "new"),
        "remove": file.unlink,
        "remove directory": directory.rmdir,
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "list": lambda: list(tmp_path.iterdir()),
        "read": file.read_text,
        "look at a process": Path("/proc/1/cmdline").read_bytes,
        "discard": lambda: os.close(os.open(os.devnull, os.O_WRONLY)),
    }
    allowed = ("list", "read", "look at a process", "discard")
    errors = confined(lambda: {name: error_of(call) for name, call in tries.items()})
    assert errors == {name: "" if name in allowed else "EACCES" for name in tries}


@needs_landlock
def test_the_capability_to_read_some_directories_reads_no_others(tmp_path: Path) -> None:
    for name in ("runtime", "other"):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "file").write_text("text")
    tries: dict[str, Callable[[], Any]] = {
        "read": (tmp_path / "runtime/file").read_text,
        "list": lambda: list((tmp_path / "runtime").iterdir()),
        "read another": (tmp_path / "other/file").read_text,
        "list another": lambda: list((tmp_path / "other").iterdir()),
        "read passwords": Path("/etc/shadow").read_bytes,
        "read users": Path("/etc/passwd").read_bytes,
        "look at a process": Path("/proc/1/cmdline").read_bytes,
        "import": lambda: __import__("wave"),
    }

    def act() -> Any:
        return sets_of(status_of())["CapEff"], {name: error_of(call) for name, call in tries.items()}

    kept, errors = confined(act, user=User("nobody", 65534, 65534), reads=[tmp_path / "runtime", tmp_path / "missing"])
    assert kept == READ_ANY
    assert {name for name, error in errors.items() if error} == {"read another", "list another", "read passwords"}


@needs_landlock
def test_what_was_opened_before_can_be_used_as_before(tmp_path: Path) -> None:
    """A file, as the outputs do it, also after a torn line; a pipe; a service manager's socket."""
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    read_end, write_end = os.pipe()
    path = str(tmp_path / "socket")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        socket.socket(server.family, server.type) as client,
    ):
        server.bind(path)

        def act() -> Any:
            fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
            os.write(file, b"line\ntorn")
            os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR) - len("torn"))
            os.write(write_end, b"line\n")
            client.sendto(b"READY=1", path)

        confined(act)
        assert server.recv(100) == b"READY=1"
    assert os.read(read_end, 100) == b"line\n"
    assert (tmp_path / "file").read_text() == "line\n"
    for fd in (file, read_end, write_end):
        os.close(fd)


@pytest.mark.skipif(landlock_version() < landlock.NET_VERSION, reason="this kernel's Landlock does not know TCP")
def test_it_cannot_use_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "refuse_calls", refuse)

    def act() -> Any:
        with socket.socket() as sock:
            return error_of(lambda: sock.bind(("127.0.0.1", 0))), error_of(lambda: sock.connect(("127.0.0.1", 1)))

    assert confined(act) == ["EACCES"] * 2


@pytest.mark.skipif(landlock_version() < landlock.SCOPE_VERSION, reason="this kernel's Landlock does not know signals")
def test_it_cannot_signal_another_process_of_its_user() -> None:
    assert confined(lambda: error_of(lambda: os.kill(os.getppid(), 0))) == "EPERM"


@pytest.mark.parametrize("version", range(1, 8))
def test_each_version_of_landlock_is_asked_only_for_what_it_knows(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older kernels refuse what they do not know; this one tells."""
    if version > landlock_version():
        pytest.skip("this kernel's Landlock is older")
    calls: list[tuple[int, ...]] = []

    def old(number: int, *arguments: Any) -> int:
        if number == landlock.CREATE_RULESET:
            if arguments[2] == landlock.CREATE_RULESET_VERSION:
                return version
            calls.append(struct.unpack(f"={arguments[1] // 8}Q", arguments[0]))
        return 0 if number == landlock.RESTRICT_SELF else syscall(number, *arguments)

    monkeypatch.setattr(landlock, "syscall", old)
    landlock.forbid_changes()
    ((files, *others),) = calls
    assert files.bit_length() == {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    assert others == [0b11, 0b10][: (version >= 4) + (version >= 6)]


@has_filters
@pytest.mark.parametrize("makes_maps", [True, False])
def test_system_calls_that_it_never_makes_are_refused(makes_maps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "forbid_changes", refuse)
    libc = ctypes.CDLL(None, use_errno=True)

    def error_of_call(number: int, *arguments: int) -> str:
        result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        return errno.errorcode[ctypes.get_errno()] if result < 0 else ""

    column = seccomp.ARCHITECTURES[os.uname().machine].column

    def act() -> Any:
        errors = {name: error_of_call(seccomp.NUMBERS[name][column], 0, 0, 0, 0, 0) for name in seccomp.REFUSED}
        errors["socket"] = error_of(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
        errors["unix socket"] = error_of(lambda: socket.socket(socket.AF_UNIX))
        errors["clone3"] = error_of_call(seccomp.NUMBERS["clone3"][column], 0, 0)
        errors["make map"] = error_of(lambda: Map(HASH, "made", 1))
        return errors

    expected = dict.fromkeys((*seccomp.REFUSED, "socket"), "EPERM")
    expected.update({"unix socket": "", "clone3": "ENOSYS", "make map": "" if makes_maps else "EPERM"})
    assert confined(act, makes_maps=makes_maps) == expected


@has_filters
def test_programs_that_are_open_can_be_used_but_none_loaded() -> None:
    """The kernel shows them, and runs them; both are system calls of each run."""
    with BpfObject(object_file(), "first") as bpf, BpfObject(object_file(), "second") as another:
        bpf.load()

        def act() -> Any:
            run(bpf.program_fd(PROGRAM), 1)
            return bpf.program_info(PROGRAM).name, error_of(another.load)

        assert confined(act, makes_maps=True) == [PROGRAM, "EPERM"]


def test_without_landlock_and_filters_it_goes_on_silently(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(landlock, "forbid_changes", refuse)
    monkeypatch.setattr(seccomp, "refuse_calls", refuse)
    assert sets_of(confined(status_of))["CapPrm"] == 0
    assert capfd.readouterr().err == ""


def test_threads_that_start_later_are_confined() -> None:
    def act() -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(status_of(f"self/task/{threading.get_native_id()}")))
        thread.start()
        thread.join()
        return found[0]

    status = confined(act)
    assert sets_of(status)["CapPrm"] == 0
    assert status["NoNewPrivs"] == ["1"]


def test_it_leaves_no_core_and_shows_its_memory_to_nobody() -> None:
    def act() -> Any:
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
        return dumpable, resource.getrlimit(resource.RLIMIT_CORE)

    assert confined(act) == [0, [0, 0]]


def test_a_configuration_that_root_alone_may_read_because_it_may_read_all_stays_readable(tmp_path: Path) -> None:
    """`sudo netmon run --config netmon.yaml` in a home directory: it is to be reloaded."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    file = home / "netmon.yaml"
    file.write_text("egress: {enabled: true}\n")
    os.chown(home, 1000, 1000)

    def act() -> Any:
        return sets_of(status_of())["CapPrm"], file.read_text()

    assert confined(act, makes_maps=True, config_file=file) == [BPF | READ_ANY, file.read_text()]


@pytest.mark.parametrize("name", ["netmon.yaml", "absent.yaml"])
def test_a_configuration_that_root_may_read_as_its_owner_takes_no_right(tmp_path: Path, name: str) -> None:
    (tmp_path / "netmon.yaml").write_text("")
    permitted = confined(lambda: sets_of(status_of())["CapPrm"], makes_maps=True, config_file=tmp_path / name)
    assert permitted == BPF


def test_modules_in_a_home_directory_can_still_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo ~/.venv/bin/netmon run`."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "imported_late.py").write_text("ANSWER = 42\n")
    os.chown(home, 1000, 1000)
    monkeypatch.syspath_prepend(home)

    def act() -> Any:
        return __import__("imported_late").ANSWER

    assert confined(act) == 42


def test_a_kernel_that_shows_programs_to_the_privileged_alone_leaves_that_right() -> None:
    """So did kernels before 5.19, with kernel.unprivileged_bpf_disabled: losses could not be read without it."""

    def look() -> None:
        if not rights.read_capabilities().effective & BPF:
            raise BpfError(errno.EPERM, "inspect program connect")

    assert confined(lambda: sets_of(status_of())["CapPrm"], look=look) == BPF


def test_whoever_has_the_older_right_keeps_that_one() -> None:
    """A container with CAP_SYS_ADMIN, from before CAP_BPF existed."""
    admin = capability_mask("SYS_ADMIN")

    def prepare() -> None:
        rights.set_capabilities(CapabilitySets(admin, admin))

    assert confined(lambda: sets_of(status_of())["CapPrm"], prepare=prepare, makes_maps=True) == admin


def test_without_any_right_to_give_up_it_succeeds_silently(capfd: pytest.CaptureFixture[str]) -> None:
    """An ordinary user, whose executable has the two capabilities, say; here it has none at all."""

    def prepare() -> None:
        os.setgid(65534)
        os.setuid(65534)

    status = confined(status_of, prepare=prepare, makes_maps=True)
    assert status["NoNewPrivs"] == ["1"]
    assert sets_of(status)["CapPrm"] == 0
    assert capfd.readouterr().err == ""


def test_it_becomes_another_user(tmp_path: Path) -> None:
    """The configuration can still be reloaded, although root alone may read it."""
    file = tmp_path / "netmon.yaml"
    file.write_text("egress: {enabled: true}\n")
    file.chmod(0o600)

    def act() -> Any:
        return status_of(), os.getgroups(), file.read_text(), error_of(lambda: Map(HASH, "made", 1))

    user = User("alice", 1234, 5678)
    status, groups, text, error = confined(act, makes_maps=True, config_file=file, user=user)
    assert (status["Uid"], status["Gid"]) == (["1234"] * 4, ["5678"] * 4)
    assert (groups, text, error) == ([], file.read_text(), "")
    left = BPF | READ_ANY
    assert sets_of(status) == {"CapInh": 0, "CapPrm": left, "CapEff": left, "CapBnd": 0, "CapAmb": 0}


def test_becoming_another_user_takes_root() -> None:
    def prepare() -> None:
        os.setgid(65534)
        os.setuid(65534)
        with pytest.raises(NetmonError, match="--user alice: Operation not permitted"):
            confine(lambda: None, makes_maps=False, config_file=None, user=User("alice", 1234, 5678))

    assert confined(lambda: "reached", prepare=prepare) == "reached"


def test_a_user_is_found_by_name_or_number() -> None:
    assert find_user("root") == User("root", 0, 0)
    assert find_user("0") == User("0", 0, 0)
    assert find_user("54321") == User("54321", 54321, 54321)
    for name in ("nobody-has-this-name", "4294967295", "-1", ""):
        with pytest.raises(KeyError):
            find_user(name)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--user", "nobody-has-this-name"), b"--user: there is no user nobody-has-this-name"),
        (("--user", "root", "--no-confine"), b"--user: cannot be combined with --no-confine"),
    ],
)
def test_a_user_that_cannot_be_is_refused_before_the_start(flags: tuple[str, ...], says: bytes) -> None:
    done = subprocess.run([sys.executable, "-m", "netmon", "run", "--any-kernel", *flags], capture_output=True)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_refusal_is_said_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A container's list of system calls may lack capset()."""

    def refuse(_sets: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(rights, "set_capabilities", refuse)
    assert confined(lambda: status_of()["NoNewPrivs"]) == ["1"]
    assert capfd.readouterr().err == "netmon: keeps rights that it does not need: Operation not permitted\n"


@pytest.mark.parametrize(("flags", "permitted", "new_rights"), [((), 0, "1"), (("--no-confine",), ALL, "0")])
def test_a_run_is_confined_with_all_its_threads_when_it_is_ready(
    tmp_path: Path, flags: tuple[str, ...], permitted: int, new_rights: str
) -> None:
    path = tmp_path / "events"
    command = [sys.executable, "-c", ON_TWO_OUTPUTS, str(path), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as netmon:
        assert netmon.stderr is not None
        assert netmon.stderr.readline() == b"netmon: ready\n"
        threads = [path.name for path in Path(f"/proc/{netmon.pid}/task").iterdir()]
        found = [status_of(f"{netmon.pid}/task/{thread}") for thread in threads]
        netmon.send_signal(signal.SIGTERM)
        events, messages = netmon.communicate()
    assert len(found) >= 3
    mine = sets_of(status_of())["CapPrm"]
    assert {(sets_of(status)["CapPrm"], *status["NoNewPrivs"]) for status in found} == {(permitted & mine, new_rights)}
    assert events.count(b"NetworkEvent") == path.read_bytes().count(b"NetworkEvent") == EVENTS
    assert messages == f"netmon: {EVENTS} events, 0 lost\n".encode()
