"""The options and markers of all tests, and the plugin that runs the kernel tests in guests."""

from __future__ import annotations

import os
import signal

import pytest

from vm.archive import KERNELS

# tests/README.md has a table of which kernels run which tests.
MARKERS = {
    "core(**parameters)": "every kernel runs this test; with parameters, only its cases that have these values",
    "oldest_and_newest": "only the oldest and the newest kernel run this test: it takes long",
    "once": "one kernel runs this test: it needs netmon's programs, but what it tests depends on no kernel",
    "only_on(*kernels)": "only these kernels run this test",
    "last": "this test runs after all others of its guest: some kernels attach no programs afterwards",
    "guest(contents)": "this test needs a guest that holds more than the usual one: systemd",
    "netmon_flags(*flags)": "the netmon that this test shares (the fixture `netmon`) runs with these flags",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel",
        action="append",
        choices=tuple(KERNELS),
        default=[],
        help="run every kernel test on this kernel, in place of the matrix of tests/README.md (may be repeated)",
    )


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # netmon respects nohup, but these tests send it
    for marker, sentence in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {sentence}")
    if "NETMON_GUEST" not in os.environ:
        from vm.pytest_plugin import GuestRunner

        config.pluginmanager.register(GuestRunner())
