"""Configurations: which sections are accepted, which are refused and with which messages."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from netmon.config import (
    BinaryFilter,
    Config,
    Direction,
    Ipv4Filter,
    Ipv6Filter,
    ProcessFilter,
    config_schema,
)
from netmon.report import OPTIONS, Report
from tests.support import strategies
from tests.unit.config.documents import (
    EMPTY_LIST,
    NEEDS_EGRESS,
    NOTHING_ENABLED,
    ON,
    REFERENCE_BOTH,
    REFERENCE_CLUSTER,
    load,
    problems_in,
    with_value,
)


def test_the_reference_examples() -> None:
    assert load(REFERENCE_BOTH) == Config.everything()
    config = load(REFERENCE_CLUSTER)
    assert not config.ingress.enabled
    assert config.egress.enabled
    assert config.egress.ipv4_filter is not None
    assert config.egress.ipv4_filter.deny_list
    assert config.egress.ipv4_filter.dst_ip == (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.1",
        "0.0.0.0",
    )
    assert config.egress.ipv6_filter == Ipv6Filter(dst_ip=["2000::/3"])
    assert config.process_filter == ProcessFilter(binary=BinaryFilter(name=["curl"]))


def test_models_built_by_python_code() -> None:
    """They accept lists, tuples and objects of ipaddress, and cannot be changed."""
    network, address = IPv4Network("10.0.0.0/8"), IPv4Address("192.0.2.1")
    filter_ = Ipv4Filter(dst_ip=[network, address])  # type: ignore[list-item]
    config = Config(egress=Direction(enabled=True, ipv4_filter=filter_))
    assert config == Config.from_dict(
        {"egress": {"enabled": True, "ipv4_filter": {"dst_ip": ("10.0.0.0/8", "192.0.2.1")}}}
    )
    assert hash(config) == hash(Config.from_dict(config.to_dict()))
    with pytest.raises(ValidationError, match="frozen"):
        config.egress.enabled = False
    with pytest.raises(ValidationError, match="nothing to watch"):
        Config()


def test_filters_of_a_disabled_direction_are_accepted() -> None:
    data = {"ingress": {"enabled": False, "ipv4_filter": {"src_ip": ["10.0.0.0/8"]}}, "egress": ON}
    assert Config.from_dict(data).ingress.ipv4_filter == Ipv4Filter(src_ip=["10.0.0.0/8"])


NULL = "is empty; give it a value or leave it out"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("ingress.ipv4_filter", {}, "is empty; give at least one of src_ip, dst_ip, or leave it out"),
        (
            "egress.ipv6_filter",
            {"deny_list": True},
            "is empty; give at least one of src_ip, dst_ip, or leave it out",
        ),
        ("egress.ipv4_filter.src_ip", [], EMPTY_LIST),
        ("egress.ipv4_filter.src_ip", "10.0.0.0/8", "'10.0.0.0/8' must be a list, even for a single value"),
        ("egress.ipv4_filter.src_ip", None, NULL),
        ("egress.ipv4_filter", None, NULL),
        ("egress.ipv4_filter", ["10.0.0.0/8"], "['10.0.0.0/8'] must be a mapping of keys"),
        ("egress.enabled", "yes", "'yes' must be true or false, without quotes"),
        ("egress.enabled", 1, "1 must be true or false, without quotes"),
        ("egress", None, NULL),
        ("egress", True, "true must be a mapping of keys"),
        ("egress.enabled", None, "null must be true or false, without quotes"),
        (
            "process_filter",
            {},
            "is empty; give at least one of uid, euid, auid, gid, binary, cgroup, container_id, "
            "pid, descendants, or leave it out",
        ),
        ("process_filter", None, NULL),
        ("process_filter.deny_list", "no", "'no' must be true or false, without quotes"),
        ("process_filter.uid", [], EMPTY_LIST),
        ("process_filter.uid", 0, "0 must be a list, even for a single value"),
        (
            "process_filter.binary",
            {},
            "is empty; give at least one of name, prefix, path, comm, or leave it out",
        ),
        ("process_filter.binary", "curl", "'curl' must be a mapping of keys"),
        ("process_filter.binary.name", [], EMPTY_LIST),
        ("egres", {}, "unknown key; did you mean egress?"),
        (
            "other",
            1,
            "unknown key; the keys here are ingress, egress, netns_filter, process_filter, name_filter, lists, macros, "
            "rules, unmatched, report, run",
        ),
        ("egress.enable", True, "unknown key; did you mean enabled?"),
        (
            "egress.port_filter",
            {"deny_list": True},
            "is empty; give at least one of src_port, dst_port, or leave it out",
        ),
        ("ingress.port_filter.src_port", [], EMPTY_LIST),
        ("ingress.port_filter.src_port", 22, "22 must be a list, even for a single value"),
        ("ingress.port_filter.ports", [22], "unknown key; did you mean src_port?"),
        ("netns_filter", {}, "is empty; give at least one of netns, or leave it out"),
        ("netns_filter", [7], "[7] must be a mapping of keys"),
        ("netns_filter.netns", 7, "7 must be a list, even for a single value"),
        ("netns_filter.netns", [], EMPTY_LIST),
        ("process_filter.container_ids", [], "unknown key; did you mean container_id?"),
        ("egress.ipv4_filters", {}, "unknown key; did you mean ipv4_filter?"),
        ("process_filter.uids", [0], "unknown key; did you mean uid?"),
        ("process_filter.gids", [0], "unknown key; did you mean gid?"),
        ("egress.ipv4_filter.match", "both", "'both' must be any or all"),
        ("egress.ip_filter", {}, "unknown key; did you mean ipv4_filter or ipv6_filter?"),
        ("run", None, NULL),
        ("run.ring_size", "5M", "'5M' is not a power of two; did you mean 4M or 8M?"),
        ("run.ring_size", True, "true must be text like 10s or 4M"),
        ("run.aggregate", "99h", "'99h' is out of range; a period is from 1s to 24h"),
        ("run.batch_delay", None, NULL),
        ("run.format", "yaml", "'yaml' must be line, json, table, template, ecs, ocsf or otel"),
        ("run.colour", False, "unknown key; did you mean color?"),
        ("process_filter.binary.names", ["x"], "unknown key; did you mean name?"),
        ("process_filter.name", ["curl"], "unknown key; did you mean binary.name?"),
        ("egress.dst_ip", ["10.0.0.0/8"], "unknown key; did you mean ipv4_filter.dst_ip?"),
        ("ingress.src_port", [22], "unknown key; did you mean port_filter.src_port?"),
        ("uid", [0], "unknown key; did you mean process_filter.uid?"),
        ("dst_port", [443], "unknown key; did you mean egress.port_filter.dst_port?"),
        ("name", ["curl"], "unknown key; did you mean process_filter.binary.name?"),
        ("process_filter.pid", 1, "1 must be a list, even for a single value"),
        ("process_filter.pids", [1], "unknown key; did you mean pid?"),
        ("process_filter.descendant", [1], "unknown key; did you mean descendants?"),
        ("report", None, NULL),
        ("report", ["parent"], "['parent'] must be a mapping of keys"),
        ("report", True, "true must be a mapping of keys"),
        ("report.parent", "yes", "'yes' must be true or false, without quotes"),
        ("report.parents", True, "unknown key; did you mean parent?"),
        ("report.enabled", True, f"unknown key; the keys here are {', '.join(Report._fields)}"),
        ("report.events", "close", "'close' must be a list, even for a single value"),
        ("report.events", [], EMPTY_LIST),
        *((name, True, f"moved: write report.{name}") for name in OPTIONS),
        *((f"{direction}.outcome", True, "moved: write report.outcome") for direction in ("ingress", "egress")),
    ],
)
def test_refused_sections(path: str, value: Any, problem: str) -> None:
    assert f"test: {path}: {problem}" in problems_in(with_value(path, value))


def test_the_report_section() -> None:
    text = "egress:\n  enabled: true\nreport:\n  outcome: true\n  parent: true\n"
    config = load(text)
    assert config.report == Report(outcome=True, parent=True)
    assert config == Config(egress=Direction(enabled=True), report=Report(outcome=True, parent=True))
    assert load("egress:\n  enabled: true\nreport: {}\n").report == Report() == Config.everything().report
    with pytest.raises(ValidationError, match="valid boolean"):
        Config(egress=Direction(enabled=True), report=Report(parent=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("egress", [{}, {"egress": {}}, {"egress": {"enabled": False}}])
def test_outcome_without_egress_is_refused(egress: dict[str, Any]) -> None:
    config = {"ingress": ON, **egress, "report": {"outcome": True, "parent": True}}
    assert problems_in(config) == [f"test: report.outcome: {NEEDS_EGRESS}"]
    with pytest.raises(ValidationError, match=NEEDS_EGRESS):
        Config(ingress=Direction(enabled=True), report=Report(outcome=True))


@pytest.mark.parametrize(
    ("event", "needed"),
    [
        ("accept", "ingress.enabled"),
        ("fail", "report.outcome"),
        ("existing", "report.existing"),
    ],
)
def test_an_event_that_cannot_happen_is_refused(event: str, needed: str) -> None:
    config = {"egress": ON, "report": {"events": ["close", event]}}
    problem = f"{event} needs {needed}: true; set it, or leave {event} out"
    assert problems_in(config) == [f"test: report.events: {problem}"]
    with pytest.raises(ValidationError, match=problem):
        Config(egress=Direction(enabled=True), report=Report(events=(event,)))


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ("closes", "'closes' is no event; did you mean close?"),
        ("x", "'x' is no event; they are establish, accept, close, fail, existing, progress, name"),
        (4, "4 must be text; put it in quotes"),
    ],
)
def test_unknown_events(event: Any, problem: str) -> None:
    assert problems_in({"egress": ON, "report": {"events": [event]}}) == [f"test: report.events[0]: {problem}"]


def test_events_are_read_back_from_plain_data() -> None:
    config = Config.from_dict({"egress": ON, "report": {"events": ["close", "establish"]}})
    assert config.report == Report(events=("close", "establish"))
    assert config.to_dict()["report"]["events"] == ["close", "establish"]
    assert Config.from_dict(config.to_dict()) == config
    assert "events" not in Config.everything().to_dict()["report"]


def test_an_interval_is_read_back_from_plain_data() -> None:
    config = Config.from_dict({"egress": ON, "report": {"progress": "2m"}})
    assert config.report == Report(progress=120.0)
    assert config.to_dict()["report"]["progress"] == "120s"
    assert Config.from_dict(config.to_dict()) == config
    assert (
        Config(egress=Direction(enabled=True), report=Report(progress=1.25)).to_dict()["report"]["progress"] == "1.25s"
    )
    assert "progress" not in Config.everything().to_dict()["report"]


@pytest.mark.parametrize(
    ("interval", "problem"),
    [
        (30, "30 is not a duration; write it like 30s or 5m"),
        ("soon", "'soon' is not a duration; write it like 10s, 500ms, 5m or 1h"),
        ("10ms", "'10ms' is out of range; progress is from 1s to 24h"),
        ("25h", "'25h' is out of range; progress is from 1s to 24h"),
        (None, "is empty; give it a value or leave it out"),
    ],
)
def test_a_wrong_interval(interval: Any, problem: str) -> None:
    config = {"egress": ON, "report": {"progress": interval, "events": ["progress"]}}
    assert problems_in(config) == [f"test: report.progress: {problem}"]


def test_a_number_of_ancestors() -> None:
    config = Config.from_dict({"egress": ON, "report": {"ancestors": 16}})
    assert config.report == Report(ancestors=16)
    assert Config.from_dict(config.to_dict()) == config
    assert "ancestors" not in Config.everything().to_dict()["report"]


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("4", "'4' is not a whole number; write it like 4"),
        (True, "true is not a whole number; write it like 4"),
        (2.5, "2.5 is not a whole number; write it like 4"),
        (0, "0 is out of range; give a number of ancestors from 1 to 16"),
        (-1, "-1 is not a whole number; write it like 4"),
        (17, "17 is out of range; give a number of ancestors from 1 to 16"),
        (None, "is empty; give it a value or leave it out"),
    ],
)
def test_a_wrong_number_of_ancestors(number: Any, problem: str) -> None:
    assert problems_in({"egress": ON, "report": {"ancestors": number}}) == [f"test: report.ancestors: {problem}"]


def test_progress_among_the_events_needs_an_interval() -> None:
    problem = "progress needs report.progress, like 30s; set it, or leave progress out"
    assert problems_in({"egress": ON, "report": {"events": ["progress"]}}) == [f"test: report.events: {problem}"]


def test_keys_that_are_not_text_or_not_identifiers() -> None:
    assert problems_in({"egress": ON, 1: 2}) == ["test: [1]: 1 is not text; put the key in quotes"]
    (problem,) = problems_in({"egress": {**ON, "a\nb": 1}})
    assert problem.startswith(r"test: egress['a\nb']: unknown key")


@pytest.mark.parametrize(
    "data",
    [{}, {"ingress": {}}, {"ingress": {"enabled": False}, "egress": {"enabled": False}}],
)
def test_nothing_enabled_is_refused(data: dict[str, Any]) -> None:
    assert problems_in(data) == [f"test: {NOTHING_ENABLED}"]


@pytest.mark.parametrize("data", [None, [], "egress", 1])
def test_data_that_is_not_a_mapping_is_refused(data: Any) -> None:
    expected = "must be a mapping with keys like ingress and egress"
    if data is None:  # a file of `---`
        expected = "is empty; enable ingress, egress or both"
    assert problems_in(data) == [f"test: {expected}"]


@given(strategies.configs() | strategies.configs(names=True))
def test_a_round_trip_through_a_dict(config: Config) -> None:
    data = config.to_dict()
    assert Config.from_dict(data) == config
    assert json.loads(json.dumps(data)) == data
    Draft202012Validator(config_schema()).validate(data)


@given(strategies.configs() | strategies.configs(names=True))
def test_a_round_trip_through_yaml(config: Config) -> None:
    assert load(yaml.safe_dump(config.to_dict())) == config
