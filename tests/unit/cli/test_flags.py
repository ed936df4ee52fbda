"""What `netmon run`'s flags say. Those that make a configuration are tested with it, in test_config.py."""

from __future__ import annotations

import argparse

import pytest

from netmon.cli.flags import config_of, duration, size
from netmon.cli.main import make_parser
from netmon.config import Config
from netmon.errors import ConfigError
from netmon.report import OPTIONS, Report


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1e3s", "10 s", "10S", "1.s", "\u0661s", "9999999999s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 10s"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [("65536", 65536), ("64K", 65536), ("4M", 4 << 20), ("1g", 1 << 30)])
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "M", "-4M", "4MB", "4.5M", "0x10", "\u0664M"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 65536"):
        size(text)


def options_of(*arguments: str) -> argparse.Namespace:
    return make_parser().parse_args(["run", *arguments])


def test_each_report_option_has_a_flag() -> None:
    config = config_of(options_of(*(f"--{name}" for name in OPTIONS)))
    assert config is not None
    assert config.report == Report(*[True] * len(OPTIONS))
    assert config.ingress.enabled and config.egress.enabled


@pytest.mark.parametrize("name", OPTIONS)
def test_a_flag_sets_its_report_option_alone(name: str) -> None:
    config = config_of(options_of("--egress", f"--{name}"))
    assert config is not None
    assert config.report == Report(**{name: True})


def test_outcome_without_egress_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of("--ingress", "--outcome", "--parent"))
    assert str(caught.value) == "--outcome: needs --egress; add it, or leave --ingress out"


def test_ports_namespaces_and_where_processes_are() -> None:
    container_id = "0" * 12
    config = config_of(
        options_of(
            *("--src-port", "22", "--src-port", "8000-8999", "--dst-port", "443", "--deny-port"),
            *("--netns", "/proc/self/ns/net", "--netns", "7", "--deny-netns"),
            *("--cgroup", "/system.slice", "--container-id", container_id),
        )
    )
    assert config is not None
    ports = {"src_port": [22, "8000-8999"], "dst_port": [443], "deny_list": True}
    assert config == Config.from_dict(
        {
            "ingress": {"enabled": True, "port_filter": ports},
            "egress": {"enabled": True, "port_filter": ports},
            "netns_filter": {"netns": ["/proc/self/ns/net", 7], "deny_list": True},
            "process_filter": {"cgroup": ["/system.slice"], "container_id": [container_id]},
        }
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--src-port", "ssh"], "--src-port: 'ssh' is not a port"),
        (["--dst-port", "65536"], "--dst-port: 65536 is out of range"),
        (["--netns", "blue"], "--netns: 'blue' is not a path; did you mean /run/netns/blue?"),
        (["--netns", "7", "--netns", "/absent"], "--netns: '/absent' cannot be used: No such file or directory; give"),
        (["--container-id", "web"], "--container-id: 'web' is not a container's id"),
        (["--cgroup", "x"], "--cgroup: 'x' does not begin with '/'"),
        (["--deny-port"], "--deny-port: denies what --src-port or --dst-port names; give one"),
        (["--deny-netns"], "--deny-netns: denies what --netns names; give one"),
    ],
)
def test_flags_with_values_that_are_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of(*arguments))
    (told,) = caught.value.problems
    assert told.startswith(problem)
