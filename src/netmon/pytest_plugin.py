"""netmon's plugin for pytest: the marker `network`, which says what a test may connect to (docs/library.md).

pytest imports this module in every run on a host that has netmon. So it imports nothing itself: what watches is
imported once a test that has the marker was collected.
"""

from __future__ import annotations

import pytest

MARKER = (
    "network(allow=[...]): fail the test if it, or a process that it starts, connects to anything else by TCP; "
    "each item is an address, a CIDR, a host's name or *, and may end in :PORT (netmon)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's option."""
    parser.getgroup("netmon").addoption(
        "--network-required",
        action="store_true",
        help="fail the tests that are marked `network` where netmon cannot watch, in place of skipping them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Watch the tests, if one has the marker."""
    if any(item.get_closest_marker("network") for item in items):
        if pytest.version_tuple < (8,):
            raise pytest.UsageError("the marker network, of netmon, needs pytest 8 or newer")
        from netmon.pytest_network import NetworkWatch  # slow to import

        config.pluginmanager.register(NetworkWatch(required=config.getoption("--network-required")))
