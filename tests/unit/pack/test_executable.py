"""The single-file executable: where it runs, what it refuses, and its contents."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from elftools.elf.elffile import ELFFile

from netmon import __version__
from netmon.capabilities import NEEDED, capability_mask
from pack import executable as single_file
from pack.launcher.start import VIEW_ARCHIVE, ArchiveFile, ArchiveImporter
from pack.paths import BUILD, LIBBPF
from pack.runtime import DEBIAN_PACKAGES
from pack.third_party import SOURCES
from tests.support.screen import Terminal
from tests.support.scripted_source import scripted
from tests.unit.recording.test_replay import ALL, scene
from vm.architecture import ARCHITECTURES
from vm.bare_guest import run_bare_guest

HOST = os.uname().machine
BARE_KERNELS = {"x86_64": "6.12", "aarch64": "6.12-arm64"}
LARGEST = 15_000_000  # bytes
DEADLINE = 60  # seconds
# struct vfs_cap_data, version 2: permitted and effective.
CAP_BPF_AND_PERFMON = struct.pack("<5I", 0x02000001, 0, 0, capability_mask(*NEEDED) >> 32, 0)
VALID = "egress:\n  enabled: true\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot and mount")


@pytest.fixture(scope="module")
def netmon(executable: Callable[[str], Path]) -> Path:
    """This machine's executable."""
    return executable(HOST)


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


@pytest.fixture
def empty_root(netmon: Path, tmp_path: Path) -> Path:
    """A directory that holds only netmon: no /proc, no /dev, no C library."""
    shutil.copy(netmon, tmp_path / "netmon")
    return tmp_path


class Waiting:
    """A netmon that waits to read its configuration from a FIFO."""

    def __init__(self, *command: object, directory: Path) -> None:
        """Run a command in directory; the FIFO's name becomes its last argument."""
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        self.process = subprocess.Popen(
            [*map(str, command), fifo.name],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._writer = os.open(fifo, os.O_WRONLY)  # returns when netmon reads

    def configure(self, text: str) -> tuple[int, str]:
        """Write the configuration; return the exit code and standard error."""
        os.write(self._writer, text.encode())
        os.close(self._writer)
        _, said = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, said


@pytest.fixture
def waiting(netmon: Path, tmp_path: Path) -> Iterator[Waiting]:
    program = Path(shutil.copy(netmon, tmp_path / "netmon"))
    running = Waiting(program, "validate", directory=tmp_path)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_is_one_static_program(architecture: str, executable: Callable[[str], Path]) -> None:
    path = executable(architecture)
    assert path.name == f"netmon-{__version__}-{architecture}"
    assert path.stat().st_size < LARGEST
    with path.open("rb") as file:
        elf = ELFFile(file)
        assert elf.header["e_machine"] == {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}[architecture]
        assert not [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_INTERP"]
    with zipfile.ZipFile(path) as archive:
        native = [name for name in archive.namelist() if name.endswith(".so") or name.startswith("start/")]
        machines = {ELFFile(io.BytesIO(archive.read(name))).header["e_machine"] for name in native}
    assert len(machines) == 1
    assert {"start/linker", "start/python", str(LIBBPF), "orjson/orjson.so"} <= set(native)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_live_view_is_apart_and_lean(architecture: str, executable: Callable[[str], Path]) -> None:
    """The launcher and zipimport read the archive's directory at each start: it has one name for the whole view."""
    with zipfile.ZipFile(executable(architecture)) as archive:
        packages = {name.partition("/")[0] for name in archive.namelist()}
        view = zipfile.ZipFile(io.BytesIO(archive.read(VIEW_ARCHIVE))).namelist()
        packed = archive.getinfo(VIEW_ARCHIVE).compress_size
    assert not packages & {"textual", "rich", "asyncio"}
    assert {"netmon/top/app.pyc", "textual/app.pyc", "textual/widgets/_data_table.pyc", "rich/text.pyc"} <= set(view)
    # For other systems, or shown by no part of the view.
    assert not [name for name in view if re.search("win32|windows|markdown|macos|demo|pygments/lexers/[a-z]", name)]
    assert not [name for name in view if not name.endswith(".pyc")]
    assert packed < 2_000_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("top") / "recording"
    with scripted(*scene(), record=path, config=ALL) as monitor:
        list(monitor.json_lines())
    return path


@pytest.mark.parametrize("where", ["here", pytest.param("where nothing else is", marks=needs_root)])
def test_it_shows_the_live_view(where: str, empty_root: Path, recording: Path) -> None:
    shutil.copy(recording, empty_root / "recording")
    program, path = (
        ((empty_root / "netmon",), recording) if where == "here" else (("chroot", empty_root, "/netmon"), "/recording")
    )
    with closing(Terminal([*program, "top", "--replay", path, "--interval", "1s"], 80, 24)) as terminal:
        terminal.shows("curl[4242]", "Quit")
        terminal.press("3/")
        terminal.press("db8")
        terminal.until(lambda: "192.0.2.1" not in "\n".join(terminal.lines()))
        terminal.press("\r")
        terminal.press_until("\r", lambda: "last connections" in "\n".join(terminal.lines()))
        terminal.press_until("q", lambda: terminal.process.poll() is not None)
        assert terminal.ended() == 0


def test_an_error_of_the_views_own_is_shown_whole(netmon: Path, recording: Path) -> None:
    """textual prints it in colours, by modules that are needed for nothing else."""
    command = [netmon, "top", "--replay", recording]
    with closing(Terminal(command, 120, 40, TEXTUAL_DRIVER="textual.drivers.nonsense:Driver")) as terminal:
        assert terminal.ended() == 1
        terminal.shows("nonsense")


def test_the_same_parts_make_the_same_bytes(netmon: Path, tmp_path: Path) -> None:
    assert single_file.build_anew(HOST, tmp_path).read_bytes() == netmon.read_bytes()


def test_lists_its_contents_and_licences(netmon: Path) -> None:
    with zipfile.ZipFile(netmon) as archive:
        text = archive.read("netmon.cdx.json").decode()
        licences = {name.removeprefix("LICENSES/") for name in archive.namelist() if name.startswith("LICENSES/")}
    assert not JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    names = {component["name"] for component in json.loads(text)["components"]}
    assert {*(source.name for source in SOURCES), *DEBIAN_PACKAGES, "orjson", "pydantic_core", "PyYAML"} <= names
    assert {"textual", "rich", "platformdirs", "Pygments"} <= names
    assert {f"{name}-copyright" for name in DEBIAN_PACKAGES} <= licences
    assert {"netmon-BSD-2-Clause", "musl-COPYRIGHT", "pydantic-LICENSE", "orjson-LICENSE-MPL-2.0"} <= licences
    assert {"textual-LICENSE", "rich-LICENSE", "platformdirs-LICENSE", "pygments-LICENSE"} <= licences


@needs_root
def test_runs_where_nothing_else_is(empty_root: Path) -> None:
    (empty_root / "valid.yaml").write_text(VALID)
    (empty_root / "invalid.yaml").write_text("nonsense: true\n")
    before = sorted(empty_root.rglob("*"))

    def netmon(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("chroot", empty_root, "/netmon", *arguments)

    assert netmon("--version").stdout == f"netmon {__version__}\n"
    assert netmon("validate", "valid.yaml").returncode == 0
    refused = netmon("validate", "/invalid.yaml")
    assert refused.returncode == 2
    assert "/invalid.yaml:1" in refused.stderr
    assert "$schema" in json.loads(netmon("schema", "event").stdout)
    checked = netmon("check")
    assert checked.returncode == 1
    assert "ok   libbpf: version 1.5, bundled with netmon, in a single-file executable" in checked.stdout
    assert sorted(empty_root.rglob("*")) == before


@needs_root
def test_runs_where_nothing_can_be_written_or_executed(empty_root: Path) -> None:
    (empty_root / "tmp").mkdir()
    (empty_root / "proc").mkdir()
    script = (
        'mount --bind "$0" "$0" && mount -t tmpfs -o noexec tmpfs "$0/tmp" && mount -t proc proc "$0/proc" && '
        'mount -o remount,bind,ro "$0" && ! touch "$0/file" 2> /dev/null && exec chroot "$0" /netmon schema config'
    )
    done = run("unshare", "--mount", "sh", "-c", script, empty_root)
    assert "$schema" in json.loads(done.stdout), done.stderr


def test_many_start_at_once(netmon: Path) -> None:
    started = [subprocess.Popen([netmon, "schema", "event"], stdout=subprocess.PIPE) for _ in range(4)]
    said = {process.communicate(timeout=DEADLINE)[0] for process in started}
    assert len(said) == 1
    assert {process.returncode for process in started} == {0}


def upgrade(directory: Path) -> None:
    newer = directory / "newer"
    newer.write_bytes(b"a newer netmon")
    newer.replace(directory / "netmon")


def test_goes_on_after_an_upgrade(waiting: Waiting, tmp_path: Path) -> None:
    upgrade(tmp_path)
    assert waiting.configure(VALID)[0] == 0


@needs_root
def test_goes_on_after_an_upgrade_where_nothing_else_is(empty_root: Path) -> None:
    """netmon opens its BPF object after it has read the configuration. Only then it finds that BTF is missing."""
    running = Waiting("chroot", empty_root, "/netmon", "run", "--any-kernel", "--config", directory=empty_root)
    upgrade(empty_root)
    code, said = running.configure(VALID)
    assert (code, said.partition(":")[0], "no BTF" in said) == (1, "netmon", True), said


def test_processes_that_share_a_descriptor_read_from_positions_of_their_own(tmp_path: Path) -> None:
    """The process that reads the configuration is forked, and imports modules as its parent does."""
    path = tmp_path / "archive"
    path.write_bytes(b"0123456789")
    with path.open("rb") as shared:
        first, second = ArchiveFile(shared.fileno()), ArchiveFile(shared.fileno())
        first.seek(2)
        second.seek(-1, os.SEEK_END)
        assert (first.read(2), second.read(5), first.read(2)) == (b"23", b"9", b"45")


def test_a_failed_import_is_not_reported_as_a_missing_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("present.so", b"")
    importer = ArchiveImporter(str(path))
    assert importer.find_spec("absent") is None
    assert importer.find_spec("present") is not None

    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        ArchiveImporter(str(path)).find_spec("present")


def test_its_code_in_memory_cannot_be_changed(waiting: Waiting) -> None:
    files = list(Path(f"/proc/{waiting.process.pid}/map_files").iterdir())
    native = {file.stat().st_ino: file for file in files if "/memfd:netmon/" in str(file.readlink())}
    names = [str(file.readlink()) for file in native.values()]
    for part in ("start/python", "start/libc.so.6", "_pydantic_core.so", "_yaml.so"):
        assert any(part in name for name in names)
    for file in native.values():
        with pytest.raises(PermissionError):
            file.write_bytes(b"")


def test_keeps_its_process_name_and_arguments(waiting: Waiting) -> None:
    process = Path(f"/proc/{waiting.process.pid}")
    assert (process / "exe").readlink().name == "netmon"
    assert (process / "comm").read_text() == "netmon\n"
    arguments = (process / "cmdline").read_text().split("\0")
    assert arguments[1] == "validate"
    waiting.process.terminate()
    assert waiting.process.wait(DEADLINE) == -15


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_damage_is_refused(netmon: Path, tmp_path: Path, place: float) -> None:
    data = bytearray(netmon.read_bytes())
    with zipfile.ZipFile(netmon) as archive:
        begin = min(entry.header_offset for entry in archive.infolist())
    data[begin + int((len(data) - begin) * place)] ^= 1
    damaged = tmp_path / "netmon"
    damaged.write_bytes(data)
    damaged.chmod(0o755)
    done = run(damaged, "--version")
    assert done.returncode == 1
    assert done.stderr == "netmon: cannot start: the file is damaged: its checksum is wrong; download it again\n"


def test_a_truncated_file_is_refused(netmon: Path, tmp_path: Path) -> None:
    part = tmp_path / "netmon"
    part.write_bytes(netmon.read_bytes()[:-1000])
    part.chmod(0o755)
    done = run(part, "--version")
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_ignores_variables_that_would_load_other_code(netmon: Path, tmp_path: Path) -> None:
    for name in ("sitecustomize", "yaml", "encodings"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken')")
    (tmp_path / "valid.yaml").write_text(VALID)
    places = dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "GCONV_PATH"), str(tmp_path))
    done = subprocess.run(
        [netmon, "validate", "valid.yaml"],
        env={**places, "LD_PRELOAD": str(tmp_path / "yaml.py"), "LD_DEBUG": "all", "PYTHONVERBOSE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "netmon: valid.yaml is valid\n")


@needs_root
def test_ignores_its_environment_when_the_file_has_capabilities(netmon: Path) -> None:
    """Its caller lacks these capabilities, and could name files for it to load."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        program = Path(shutil.copy(netmon, directory))
        os.setxattr(program, "security.capability", CAP_BPF_AND_PERFMON)
        done = subprocess.run(
            [program, "check"],
            env={"NETMON_LIBBPF": "/nowhere", "LD_PRELOAD": "/nowhere"},
            user=65534,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    assert "ok   capabilities" in done.stdout
    assert "ok   libbpf: version 1.5, bundled" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("capable", [True, False])
def test_does_not_open_a_path_that_its_caller_chose(netmon: Path, capable: bool) -> None:
    """A caller who may run but not read the file could redirect a symbolic link to it while it starts."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        program = Path(shutil.copy(netmon, directory))
        program.chmod(0o711)
        if capable:
            os.setxattr(program, "security.capability", CAP_BPF_AND_PERFMON)
        done = subprocess.run([program, "--version"], user=65534, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert done.stderr == "netmon: cannot start: /proc/self/exe: Permission denied\n"


def test_libbpf_can_still_be_chosen(netmon: Path) -> None:
    assert "FAIL libbpf: not usable" in run(netmon, "check", NETMON_LIBBPF="/nowhere").stdout


@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), ("2>&-", 0), (">&-", 1), ("<&- >&- 2>&-", 1)])
def test_standard_streams_may_be_closed(netmon: Path, closed: str, code: int) -> None:
    assert run("sh", "-c", f'exec "$0" --version {closed}', netmon).returncode == code


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reports_events_in_a_guest_with_nothing_else(
    architecture: str, executable: Callable[[str], Path], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Two run at once there, with a read-only root."""
    kernel = BARE_KERNELS[architecture]
    if kernel not in (pytestconfig.option.kernel or [kernel]):
        pytest.skip("another kernel was chosen")
    said = run_bare_guest(kernel, BUILD / "programs", {"netmon": executable(architecture)}, tmp_path)
    assert "ok   tracing programs" in said, said
    assert said.count("netmon: ready") == 2
    assert said.count("exit code 0") == 3
    events = [json.loads(line)["network_event"]["type"] for line in said.splitlines() if line.startswith("{")]
    assert events == ["TcpConnectionEstablish", "TcpConnectionClose"] * 2
