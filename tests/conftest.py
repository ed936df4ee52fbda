"""Which kernels to test, and who runs their tests."""

from __future__ import annotations

import os

import pytest

KERNEL_NAMES = ("6.1", "6.12", "6.18", "newest")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel",
        action="append",
        choices=KERNEL_NAMES,
        help="run the kernel tests on this kernel only (may be repeated)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.kernel:
        config.option.kernel = list(KERNEL_NAMES)
    if "NETMON_GUEST" not in os.environ:
        from tests.harness.plugin import GuestRunner

        config.pluginmanager.register(GuestRunner())
