"""Which kernels to test, and who runs their tests."""

from __future__ import annotations

import os

import pytest

from vm.archive import KERNELS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel",
        action="append",
        choices=tuple(KERNELS),
        help="run the kernel tests on this kernel only (may be repeated)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.kernel:
        config.option.kernel = list(KERNELS)
    if "NETMON_GUEST" not in os.environ:
        from vm.pytest_plugin import GuestRunner

        config.pluginmanager.register(GuestRunner())
