"""Kernel tests: collected here for each kernel of the matrix, run in guests (vm/pytest_plugin.py)."""

from __future__ import annotations

import fnmatch
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connecting_process import CONNECT_ONCE
from tests.support.netmon_command import Netmon
from tests.support.sockets import listen
from vm.architecture import AARCH64
from vm.archive import KERNELS
from vm.pytest_plugin import kernel_of

# What arm64 kernels run of the tests: each thing once that could differ there, since a start takes seconds.
ON_ARM64 = (
    "test_guest.py::*",
    "test_wheel.py::*",
    "test_connections.py::*",
    "test_samples.py::*",
    "test_mptcp.py::test_one_connection*both-IPv4*",
    "test_process.py::*",
    "test_filters.py::test_each_kind_of_address_filter*-ipv?-dst_ip-deny*",
    "test_filters.py::test_the_references_configurations*",
    "test_filters_port_netns_cgroup.py::test_what_is_open_at_the_start*",
    "test_filters.py::test_a_close_follows_the_verdict_of_its_opening*",
    "test_command.py::test_a_signal_drains_and_sums_up*",
    "test_command.py::test_check_names_each_need*",
    "test_command.py::test_it_needs_two_capabilities_and_not_root*",
    "test_command.py::test_nothing_outlives_it*",
    "test_command.py::test_ready_soon*",
    "test_library.py::test_events_are_models*",
    "test_library.py::test_many_threads_connect_first_at_once*",
    "test_library.py::test_a_small_ring_loses_and_counts*",
    "test_library.py::test_programs_are_small*",
    "test_aggregate.py::test_totals_are_those_of_the_events*",
    "test_aggregate.py::test_bytes_are_those_that_the_programs_counted*client closes first*",
    "test_reload.py::test_another_file_takes_effect_at_once*",
    "test_reload.py::test_nothing_slips_through_while_filters_are_swapped*",
    "test_service.py::test_is_started_by_its_installation*",
    "test_service.py::test_events_come_out_in_the_journal*",
)


# Not between the oldest and the newest kernel, where both of these run: what is of netmon's own making, whatever the
# kernel, and what takes long.
OUTERMOST = {"6.1", "newest"}
ON_OUTERMOST = (
    "test_monitor.py::*",
    "test_load.py::*",
    "test_overload.py::*",
    "test_aggregate.py::test_a_period*",
    "test_command.py::test_output_that_cannot_be_written*",
    "test_command.py::test_a_signal_while_it_starts*",
    "test_command.py::test_kernels_under_6_2_are_refused*",
    "test_command.py::test_the_environment*",
    "test_command.py::test_a_config_file*",
    "test_command.py::test_filter_flags*",
    "test_command.py::test_a_second_one_starts_at_once*",
    "test_filters.py::test_address_filters*",
    "test_filters.py::test_process_filters*",
    "test_filters.py::test_a_hundred_thousand_cidrs*",
    "test_library.py::test_a_timeout*",
    "test_library.py::test_stop*",
    "test_library.py::test_an_iteration*",
    "test_library.py::test_more_files*",
    "test_library.py::test_ring_sizes*",
    "test_process_edge_cases.py::test_two_threads_first_seen_at_once*",
    "test_reload.py::test_another_file*",
    "test_reload.py::test_a_file_that_cannot_be_used*",
    "test_reload.py::test_without_a_file*",
    "test_reload.py::test_other_directions*",
)


@pytest.fixture(autouse=True, scope="session")
def kernel(request: pytest.FixtureRequest) -> str:
    """The name of the kernel line that the test runs on."""
    return str(request.param)


@pytest.fixture(scope="module")
def netmon(request: pytest.FixtureRequest) -> Iterator[Netmon]:
    """One netmon that reports everything, for all tests of a module: with what the module names in FLAGS."""
    with Netmon(*getattr(request.module, "FLAGS", ())) as running:
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


@pytest.fixture(scope="session")
def modules() -> None:
    """Let the kernel find its modules, and load them when they are needed."""
    subprocess.run(["depmod"], check=True, capture_output=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a kernel need not run, and of modules that are for some (ONLY_ON) the others."""
    chosen = set(config.getoption("--kernel"))
    left_out = {
        item
        for item in items
        if is_left_out(kernel_of(item), item.nodeid.rpartition("/")[2], chosen) or is_for_another(kernel_of(item), item)
    }
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def is_left_out(kernel: str, test: str, chosen: set[str]) -> bool:
    if not kernel:
        return False
    if KERNELS[kernel].architecture == AARCH64:
        return not is_one_of(ON_ARM64, test)
    return kernel not in OUTERMOST and chosen >= OUTERMOST and is_one_of(ON_OUTERMOST, test)


def is_one_of(patterns: tuple[str, ...], test: str) -> bool:
    return any(fnmatch.fnmatchcase(test, pattern) for pattern in patterns)


def is_for_another(kernel: str, item: pytest.Item) -> bool:
    only_on = getattr(getattr(item, "module", None), "ONLY_ON", (kernel,))
    return kernel not in ("", *only_on)


# First, whether this file is known before pytest's own plugins or after them: the tests' ids depend on it.
@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test once for each kernel."""
    if "kernel" in metafunc.fixturenames:
        kernels = metafunc.config.getoption("--kernel")
        metafunc.parametrize("kernel", kernels, indirect=True, scope="session")
