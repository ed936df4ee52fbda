"""Kernel tests: collected here for each kernel of the matrix, run in guests (tests/harness/plugin.py)."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.subjects import CONNECT_ONCE
from tests.kernel.support import Netmon, listen


@pytest.fixture(autouse=True, scope="session")
def kernel(request: pytest.FixtureRequest) -> str:
    """The name of the kernel line that the test runs on."""
    return str(request.param)


@pytest.fixture(scope="module")
def netmon() -> Iterator[Netmon]:
    """One netmon that reports everything, for all tests of a module."""
    with Netmon() as running:
        yield running
        ended = running.stop()
        assert ended.returncode == 0
        assert ", 0 lost" in ended.stderr


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test once for each kernel."""
    if "kernel" in metafunc.fixturenames:
        kernels = metafunc.config.getoption("--kernel")
        metafunc.parametrize("kernel", kernels, indirect=True, scope="session")
