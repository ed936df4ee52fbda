"""Kernel tests: collected here for each kernel of the matrix, run in guests (tests/harness/plugin.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.support import Netmon


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test once for each kernel."""
    if "kernel" in metafunc.fixturenames:
        kernels = metafunc.config.getoption("--kernel")
        metafunc.parametrize("kernel", kernels, indirect=True, scope="session")
