"""What the filter flags of `netmon run` report, by the model of the filters; and flags on top of a file."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from netmon.cli.file_settings import begin_reading_file, flags_over_file
from netmon.cli.flag_config import EVERYTHING
from netmon.cli.flags import config_of
from netmon.cli.main import make_parser
from netmon.config.checked import CheckedConfig, check_document
from netmon.config.yaml_reader import load_yaml
from netmon.errors import ConfigError
from netmon.filters.compile import compile_filters
from netmon.layout import Direction
from netmon.report import Report
from tests.support.compiled import in_memory
from tests.support.filter_model import Program, Socket, passes

CURL = Program(1000, 1000, 1000, b"/usr/bin/curl", comm=b"curl")
FILE = """
egress:
  enabled: true
  ipv4_filter:
    dst_ip: [10.0.0.0/8]
  port_filter:
    dst_port: [443]
process_filter:
  uid: [1000]
report:
  statistics: true
  outcome: true
run:
  ring_size: 8M
  batch_delay: 1s
  lost_events: false
  each: true
  fields: [type, process.pid]
"""


def parse(*arguments: str) -> argparse.Namespace:
    return make_parser(["run"]).parse_args(["run", *arguments])


def config_from(*arguments: str) -> CheckedConfig:
    config = config_of(parse(*arguments))
    assert config is not None
    return config


@pytest.mark.parametrize(
    ("flags", "reported"),
    [
        # In an endpoint: A is 10.0.0.1, B is 10.0.0.2, 6 is ::1, 7 is ::2.
        ("", "AB BA AA 67 66"),
        ("--peer 10.0.0.2", "AB"),
        ("--dst-ip 10.0.0.2", "AB"),
        ("--local 10.0.0.2", "BA"),
        ("--local 10.0.0.1 --peer 10.0.0.2", "AB"),
        ("--local 10.0.0.1 --peer 10.0.0.0/30", "AB AA"),
        ("--peer 10.0.0.1,10.0.0.2", "AB BA AA"),
        ("--peer 10.0.0.1 --peer ::2", "BA AA 67"),
        ("--peer ::2", "67"),
        ("--local 10.0.0.1,::1 --peer 10.0.0.2", "AB"),
        ("--local 10.0.0.1,::1 --peer 10.0.0.2,::2", "AB 67"),
        ("--deny-ip --peer 10.0.0.2", "BA AA 67 66"),
        ("--deny-ip --local 10.0.0.1 --peer 10.0.0.2", "BA AA 67 66"),
        ("--deny-ip --local 10.0.0.1,::1 --peer 10.0.0.2", "BA AA 67 66"),
        ("--deny-ip --peer 10.0.0.2,::2", "BA AA 66"),
        ("-4", "AB BA AA"),
        ("-6", "67 66"),
        ("-4 -6", "AB BA AA 67 66"),
        ("-4 --peer 10.0.0.2", "AB"),
        ("-4 --deny-ip --peer 10.0.0.2", "BA AA"),
        ("-4 -6 --peer 10.0.0.2", "AB"),
    ],
)
def test_addresses(flags: str, reported: str) -> None:
    address = {"A": "10.0.0.1", "B": "10.0.0.2", "6": "::1", "7": "::2"}
    config = config_of(parse(*flags.split())) or EVERYTHING
    for direction in Direction:
        assert reported.split() == [
            pair
            for pair in ("AB", "BA", "AA", "67", "66")
            if passes(config, direction, address[pair[0]], address[pair[1]], CURL)
        ]


@pytest.mark.parametrize(
    ("flags", "reported"),
    [
        ("--port 80", [(80, 1), (1, 80), (80, 443)]),
        ("--port 80,443", [(80, 1), (1, 80), (1, 443), (80, 443)]),
        ("--local-port 80", [(80, 1), (80, 443)]),
        ("--peer-port 443", [(1, 443), (80, 443)]),
        ("--src-port 80 --dst-port 443", [(80, 443)]),
        ("--src-port 80 --dst-port 400-500,1", [(80, 1), (80, 443)]),
        ("--deny-port --src-port 80 --dst-port 443", [(80, 1), (1, 80), (1, 443)]),
        ("--deny-port --port 443", [(80, 1), (1, 80)]),
    ],
)
def test_ports(flags: str, reported: list[tuple[int, int]]) -> None:
    config = config_from(*flags.split())
    pairs = [(80, 1), (1, 80), (1, 443), (80, 443)]
    for direction in Direction:
        assert reported == [
            pair for pair in pairs if passes(config, direction, "10.0.0.1", "10.0.0.2", CURL, Socket(*pair))
        ]


def test_flags_of_different_kinds_must_all_match() -> None:
    config = config_from("--peer", "10.0.0.2", "--peer-port", "443", "--uid", "1000", "--gid", "5", "--egress")
    program = CURL._replace(gid=5)
    cases = [
        ("10.0.0.2", 443, program),
        ("10.0.0.3", 443, program),
        ("10.0.0.2", 80, program),
        ("10.0.0.2", 443, CURL),
        ("10.0.0.2", 443, program._replace(uid=1)),
    ]
    assert [
        passes(config, Direction.EGRESS, "10.0.0.1", daddr, who, Socket(1, dport)) for daddr, dport, who in cases
    ] == [True, False, False, False, False]
    assert not config.ingress.enabled


def test_failures() -> None:
    config = config_from("--failures", "--peer", "10.0.0.2")
    assert not config.ingress.enabled
    assert config.report == Report(outcome=True, events=("fail",))


def test_names_are_those_of_executables_and_of_processes() -> None:
    config = config_from("--name", "cat,a-name-of-more-than-15-bytes", "--comm", "x")
    assert config.process_filter is not None
    binary = config.process_filter.binary
    assert binary is not None
    assert binary.name == ("cat", "a-name-of-more-than-15-bytes")
    assert binary.comm == ("cat", "a-name-of-more-than-15-bytes", "x")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "netmon.yaml"
    path.write_text(FILE)
    return str(path)


def read_plainly(file: str) -> CheckedConfig:
    return check_document(load_yaml(file))


def with_file(file: str, *flags: str) -> CheckedConfig:
    """Return what flags make of the file. The process that reads it must compile the same."""
    options = parse("--config", file, *flags)
    for _ in ("at the start", "at a reload"):
        filters = begin_reading_file(options)()
        config = flags_over_file(options)(read_plainly(file))
        assert in_memory(filters) == compile_filters(config)
        filters.release()
    return config


def test_without_further_flags_the_file_counts_alone(file: str) -> None:
    assert with_file(file) == read_plainly(file)


def test_a_flag_replaces_the_filter_of_its_kind(file: str) -> None:
    base = read_plainly(file)
    config = with_file(file, "--peer", "::1")
    assert config.egress.ipv6_filter is not None
    assert config.egress.ipv6_filter.dst_ip == ("::1",)
    assert not passes(config, Direction.EGRESS, "10.0.0.1", "10.0.0.2", CURL)
    assert config.egress.port_filter == base.egress.port_filter
    assert (config.process_filter, config.report) == (base.process_filter, base.report)
    config = with_file(file, "--port", "80")
    assert config.egress.ipv4_filter == base.egress.ipv4_filter
    assert config.egress.port_filter != base.egress.port_filter
    config = with_file(file, "--name", "curl")
    assert config.process_filter is not None
    assert config.process_filter.uid is None
    assert config.egress == base.egress


def test_a_flag_of_a_report_option_replaces_it(file: str) -> None:
    assert with_file(file, "--parent").report == Report(statistics=True, outcome=True, parent=True)
    assert with_file(file, "--no-statistics").report == Report(outcome=True)
    assert with_file(file, "--events", "fail").report.events == ("fail",)


def test_directions_of_flags_and_file(file: str) -> None:
    config = with_file(file, "--ingress", "--no-outcome")
    assert (config.ingress.enabled, config.egress.enabled) == (True, False)
    config = with_file(file, "--ingress", "--egress")
    assert (config.ingress.enabled, config.egress.enabled) == (True, True)
    with pytest.raises(ConfigError) as caught:
        with_file(file, "--ingress")
    assert str(caught.value) == (
        "--ingress: leaves out what the file's report.outcome needs; add --egress or --no-outcome"
    )
