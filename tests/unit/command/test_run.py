"""A command that a program runs: held until the monitor has started, then like one of subprocess."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from netmon import Config, Monitor, NetmonError
from netmon.command.run import CommandRun
from netmon.config.following import following
from netmon.kernel.marks import FollowedProcess
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import Filler
from tests.support.waiting import DEADLINE

MIX = MIXES["1 process, IPv4"]


class Watcher(Filler):
    """A source of records that knows which process it follows."""

    left = 0  # how often a descendant is seen
    started: Path | None = None  # what the command makes
    fails = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(MIX, 4096)

    def attach(self) -> None:
        """Check that the command has not begun."""
        assert self.started is None or not self.started.exists()
        if self.fails:
            raise NetmonError("refused")
        super().attach()
        self.send(1 + 2)

    def followed(self) -> list[FollowedProcess]:
        """Return a descendant, some times."""
        type(self).left -= 1
        return [FollowedProcess(1, "init")] * (self.left >= 0)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("left", "started", "fails"):
        monkeypatch.setattr(Watcher, name, getattr(Watcher, name))


def run(*command: str, **options: Any) -> CommandRun[Monitor]:
    return Monitor.exec(
        command,
        any_kernel=True,
        open_source=lambda filters, ring_size, *, aggregate: Watcher(),
        **options,
    )


def test_the_iteration_ends_with_the_command(tmp_path: Path) -> None:
    Watcher.started = tmp_path / "started"
    with run("sh", "-c", f"touch {Watcher.started}; exit 3") as command:
        assert len(list(command)) == 2
        assert command.returncode == 3
    assert Watcher.started.exists()
    assert command.monitor.finished
    with pytest.raises(NetmonError, match="started already"):
        command.start()


def test_in_asyncio() -> None:
    async def main() -> int:
        with run("true") as command:
            return len([event async for event in command])

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == 2


def test_streams_directory_and_environment_are_set(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("text\n")
    with source.open() as stdin, target.open("wb") as stdout:
        script = "cat; pwd; echo $NAME; echo error >&2"
        streams = {"stdin": stdin, "stdout": stdout, "stderr": subprocess.STDOUT}
        with run("sh", "-c", script, cwd=tmp_path, env={"NAME": "x", "PATH": os.environ["PATH"]}, **streams) as command:
            assert sum(map(len, command.json_lines())) == 2
    assert (target.read_text(), command.wait()) == (f"text\n{tmp_path}\nx\nerror\n", 0)


def test_streams_may_be_swapped(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom tests.unit.command.test_run import run\n"
        "with run('sh', '-c', 'echo out; echo error >&2', stdout=2, stderr=1) as command:\n    command.wait()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    assert (ended.stdout, ended.stderr) == ("error\n", "out\n")


def test_signals_are_the_commands_own() -> None:
    """Nothing that this process handles, blocks or ignores, but what the command has always ignored."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGPIPE)}
    signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        for number in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGTERM):
            with run("sh", "-c", f"kill -{number.name[3:]} $$; exit 0") as command:
                assert command.wait(DEADLINE) == -number
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


@pytest.mark.parametrize(
    ("command", "options", "error", "names"),
    [
        (["/nowhere/command"], {}, FileNotFoundError, "/nowhere/command"),
        (["/etc/passwd"], {}, PermissionError, "/etc/passwd"),
        (["true"], {"cwd": "/nowhere"}, FileNotFoundError, "/nowhere"),
    ],
)
def test_what_cannot_run_is_an_error_as_of_subprocess(
    command: list[str], options: dict[str, Any], error: type[OSError], names: str
) -> None:
    started = run(*command, **options)
    with pytest.raises(error) as caught:
        started.start()
    assert caught.value.filename == names
    with pytest.raises(ChildProcessError):
        os.waitpid(started.pid, os.WNOHANG)
    with pytest.raises(error):
        subprocess.run(command, **options)


def test_a_monitor_that_cannot_start_starts_no_command(tmp_path: Path) -> None:
    Watcher.fails = True
    command = run("touch", str(tmp_path / "started"))
    with pytest.raises(NetmonError, match="refused"):
        command.start()
    assert command.returncode == -signal.SIGKILL
    assert not (tmp_path / "started").exists()


def test_an_exception_kills_the_command() -> None:
    command = run("sleep", "1000")
    with pytest.raises(subprocess.TimeoutExpired), command:
        command.wait(0.01)
    assert command.returncode == -signal.SIGKILL
    command.terminate()  # nobody else's process


def test_descendants_are_waited_for_if_asked() -> None:
    Watcher.left = 1
    with run("true", wait_all=True) as command:
        assert len(list(command)) == 2
    assert Watcher.left < 0


def test_it_starts_in_a_program_with_threads(recwarn: pytest.WarningsRecorder) -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    with run("true") as command:
        assert command.wait(DEADLINE) == 0
    ended.set()
    thread.join()
    assert not recwarn.list


def test_what_is_no_command_is_refused() -> None:
    wrong: list[Any] = ["curl", b"curl", []]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"^arguments: .* is no list with a command"):
            Monitor.exec(arguments)
    with pytest.raises(ValueError, match=r"^stdout: takes an open file"):
        run("true", stdout=subprocess.PIPE)
    with pytest.raises(ValueError, match=r"^ring_size: 5 is not"):
        run("true", ring_size=5)
    with pytest.raises(NetmonError, match="was not started"):
        list(run("true"))


@pytest.mark.parametrize("key", ["pid", "descendants"])
def test_a_configuration_may_filter_but_not_follow(key: str) -> None:
    egress = {"egress": {"enabled": True}}
    config = following(Config.from_dict({**egress, "process_filter": {"uid": [0]}}), 42)
    assert config.process_filter is not None
    assert (config.process_filter.uid, config.process_filter.descendants) == ((0,), (42,))
    with pytest.raises(ValueError, match=rf"^config: has process_filter\.{key}, but exec\(\) follows its command"):
        Monitor.exec(["true"], Config.from_dict({**egress, "process_filter": {key: [1]}}))
    with pytest.raises(ValueError, match="deny_list"):
        following(Config.from_dict({**egress, "process_filter": {"uid": [0], "deny_list": True}}), 42)
