"""The flags of `netmon run`: durations, sizes, and the configuration that they describe."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from netmon.cli.flags import config_of, duration, size
from netmon.cli.main import main, make_parser
from netmon.config.checked import check_document
from netmon.config.document import document_of
from netmon.errors import ConfigError
from netmon.report import OPTIONS, Report


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1e3s", "10 s", "10S", "1.s", "\u0661s", "9999999999s"])
def test_refused_durations(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 10s"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [("65536", 65536), ("64K", 65536), ("4M", 4 << 20), ("1g", 1 << 30)])
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "M", "-4M", "4MB", "4.5M", "0x10", "\u0664M"])
def test_refused_sizes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 65536"):
        size(text)


def options_of(*arguments: str) -> argparse.Namespace:
    return make_parser().parse_args(["run", *arguments])


def test_each_report_option_has_a_flag() -> None:
    config = config_of(options_of(*(f"--{name}" for name in OPTIONS)))
    assert config is not None
    assert config.report._asdict() == {**dict.fromkeys(OPTIONS, True), "events": None}
    assert config.ingress.enabled and config.egress.enabled


@pytest.mark.parametrize("name", OPTIONS)
def test_a_flag_sets_its_report_option_alone(name: str) -> None:
    config = config_of(options_of("--egress", f"--{name}"))
    assert config is not None
    assert config.report._asdict() == {**Report()._asdict(), name: True}


def test_flags_of_processes_that_run() -> None:
    config = config_of(options_of("--pid", "1", "--tree", "2", "--tree", "3", "--deny-process"))
    assert config is not None
    assert config.process_filter is not None
    assert (config.process_filter.pid, config.process_filter.descendants) == ((1,), (2, 3))
    assert config.process_filter.deny_list


def test_a_refused_pid_is_named_by_its_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of("--tree", "0"))
    assert str(caught.value) == "--tree: 0 is out of range; process ids go from 1 to 4194304"


def test_events_are_separated_by_commas_or_repeated() -> None:
    config = config_of(options_of("--outcome", "--events", "close, fail", "--events", "accept"))
    assert config is not None
    assert config.report == Report(outcome=True, events=("close", "fail", "accept"))


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--events", "close,fial", "--outcome"], "'fial' is no event; did you mean fail?"),
        (["--events", "close,"], "'' is no event; they are establish, accept, close, fail, existing"),
        (["--events", "fail"], "fail needs --outcome; add it, or leave fail out"),
        (["--events", "accept", "--egress"], "accept needs --ingress; add it, or leave accept out"),
    ],
)
def test_refused_events(flags: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of(*flags))
    assert str(caught.value) == f"--events: {problem}"


def test_outcome_without_egress_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of("--ingress", "--outcome", "--parent"))
    assert str(caught.value) == "--outcome: needs --egress; add it, or leave --ingress out"


def test_flags_of_ports_namespaces_cgroups_and_containers() -> None:
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
    data = {
        "ingress": {"enabled": True, "port_filter": ports},
        "egress": {"enabled": True, "port_filter": ports},
        "netns_filter": {"netns": [Path("/proc/self/ns/net").stat().st_ino, 7], "deny_list": True},
        "process_filter": {"cgroup": ["/system.slice"], "container_id": [container_id]},
    }
    assert config == check_document(document_of(data, "test"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--src-port", "ssh"], "--src-port: 'ssh' is not a port"),
        (["--dst-ip", "10.0.0.1/8"], "--dst-ip: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        (["--uid", "-1"], "--uid: -1 is out of range"),
        (["--path", "x", "--name", "y"], "--path: 'x' does not begin with '/'"),
        (["--config", "x.yaml", "--parent"], "--parent: cannot be combined with --config; write it into"),
        (["--deny-ip"], "--deny-ip: inverts --src-ip or --dst-ip; add one, or leave it out"),
        (["--deny-process"], "--deny-process: inverts --uid, "),
        (["--dst-port", "65536"], "--dst-port: 65536 is out of range"),
        (["--netns", "blue"], "--netns: 'blue' is not a path; did you mean /run/netns/blue?"),
        (["--netns", "7", "--netns", "/absent"], "--netns: '/absent' cannot be used: No such file or directory; give"),
        (["--container-id", "web"], "--container-id: 'web' is not a container id"),
        (["--cgroup", "x"], "--cgroup: 'x' does not begin with '/'"),
        (["--deny-port"], "--deny-port: inverts --src-port or --dst-port; add one, or leave it out"),
        (["--deny-netns"], "--deny-netns: inverts --netns; add one, or leave it out"),
    ],
)
def test_refused_values_are_named_by_their_flags(arguments: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(options_of(*arguments))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(problem)


def test_an_argument_of_the_monitor_is_named_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ring-size", "5"]) == 2
    assert capsys.readouterr().err.startswith("netmon: --ring-size: 5 is not a power of two from ")
    assert main(["run", "--line-limit", "49K"]) == 2
    assert capsys.readouterr().err == "netmon: --line-limit: 50176 is not from 16384 to 49152 bytes\n"
    assert main(["run", "--aggregate", "10s", "--statistics"]) == 2
    assert capsys.readouterr().err == (
        "netmon: --aggregate: cannot be combined with statistics; leave one or the other out\n"
    )
