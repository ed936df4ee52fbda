"""Kernel tests: collected here for each kernel of the matrix, run in guests (vm/pytest_plugin.py)."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connecting_process import CONNECT_ONCE
from tests.support.filtered_monitors import Filtered, filtered_monitors
from tests.support.netmon_command import Netmon
from tests.support.sockets import listen
from vm.archive import KERNELS
from vm.pytest_plugin import kernel_of, parameters_of

# The other kernels of the matrix run the tests marked core.
FULL = ("6.1", "6.12", "newest")
OLDEST_AND_NEWEST = ("6.1", "newest")
ONCE = ("6.12",)  # its guest takes the least time


@pytest.fixture(autouse=True, scope="session")
def kernel(request: pytest.FixtureRequest) -> str:
    """The name of the kernel line that the test runs on."""
    return str(request.param)


class SharedNetmon:
    """The netmon that tests share: one at a time, with the flags that the next test wants."""

    def __init__(self) -> None:
        self._flags: tuple[str, ...] | None = None
        self._running: Netmon | None = None

    def with_flags(self, flags: tuple[str, ...]) -> Netmon:
        """Return a netmon that runs with these flags: the one of the test before, if it has them."""
        if self._flags != flags or (self._running and self._running.process.poll() is not None):
            self.end()
        if self._running is None:
            self._flags, self._running = flags, Netmon(*flags)
        return self._running

    def end(self) -> None:
        """End it, and check that it has lost nothing."""
        if self._running is None:
            return
        with self._running as running:
            self._running = None
            ended = running.stop()
        assert ended.returncode == 0
        assert ended.stderr.startswith("netmon: ready\n")
        assert ", 0 lost" in ended.stderr


SHARED = pytest.StashKey[SharedNetmon]()


@pytest.fixture
def netmon(request: pytest.FixtureRequest) -> Netmon:
    """A netmon that reports everything, which has run for other tests before; `netmon.watch()` gives a test its events.

    Tests of the same flags (mark them netmon_flags) run one after another, in whichever modules they are, and share it.
    """
    flags = flags_of(request.node)
    assert flags is not None
    return request.config.stash.setdefault(SHARED, SharedNetmon()).with_flags(flags)


def flags_of(item: pytest.Item | None) -> tuple[str, ...] | None:
    """Return the flags of the netmon that a test shares; None if it shares none."""
    if item is None or "netmon" not in getattr(item, "fixturenames", ()):
        return None
    marker = item.get_closest_marker("netmon_flags")
    return marker.args if marker else ()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the shared netmon after the last test that uses it: it would work for the loads of the others, too."""
    if flags_of(nextitem) != flags_of(item) and (shared := item.config.stash.get(SHARED, None)):
        shared.end()


@pytest.fixture(scope="module")
def filtered() -> Iterator[Filtered]:
    """Returns a monitor with a configuration's filters; all tests of a module share it."""
    with filtered_monitors() as function:
        yield function


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A socket to connect to."""
    with listen() as sock:
        yield sock


@pytest.fixture(scope="module")
def port(listener: socket.socket) -> str:
    """Its port."""
    return str(listener.getsockname()[1])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the subject that the test may change, and any user run."""
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    return Path(shutil.copy(CONNECT_ONCE, tmp_path / "subject"))


@pytest.fixture(scope="session")
def modules() -> None:
    """Let the kernel find its modules, and load them when they are needed."""
    subprocess.run(["depmod"], check=True, capture_output=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that a kernel does not run, and sort the others. --kernel has all run that can run there."""
    named = config.option.kernel
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        kernel = kernel_of(item)
        (chosen if not kernel or runs_on(item, kernel, kernel in named) else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = in_order(chosen)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the items in another order.

    First those that share a netmon, by its flags, then those with their own, then those that are marked last.
    """

    def place(item: pytest.Item) -> tuple[int | str, ...]:
        if item.get_closest_marker("last"):
            return (2,)
        return (0, *flags) if (flags := flags_of(item)) is not None else (1,)

    return sorted(items, key=place)


def runs_on(item: pytest.Item, kernel: str, is_named: bool) -> bool:
    """Return whether a kernel runs a test, by the test's markers. is_named: whether the command line names it."""
    if (only_on := item.get_closest_marker("only_on")) and kernel not in only_on.args:
        return False
    if is_named or is_core(item):
        return True
    if item.get_closest_marker("once"):
        return kernel in ONCE
    return kernel in (OLDEST_AND_NEWEST if item.get_closest_marker("oldest_and_newest") else FULL)


def is_core(item: pytest.Item) -> bool:
    """Return whether a test is marked core, and has the parameters that the marker names."""
    marker = item.get_closest_marker("core")
    if not marker:
        return False
    return all(parameters_of(item)[name] == value for name, value in marker.kwargs.items())


# First, whether this file is known before pytest's own plugins or after them: the tests' ids depend on it.
@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test once for each kernel."""
    if "kernel" in metafunc.fixturenames:
        kernels = metafunc.config.option.kernel or list(KERNELS)
        metafunc.parametrize("kernel", kernels, indirect=True, scope="session")
