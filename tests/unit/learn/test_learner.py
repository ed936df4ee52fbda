"""What is joined, what identifies programs, and how much of hostile input is kept."""

from __future__ import annotations

import pytest

from netmon.config.yaml_writer import quoted
from netmon.learn.learner import MAX_PROGRAMS, TOO_MANY_PROGRAMS, Learner
from netmon.learn.places import address_path, name_path
from netmon.learn.write import MAX_RULES, write_expectation
from netmon.workload import KEYS
from tests.support.rule_evaluator import Json
from tests.unit.learn.expectations import config_of, drift_of, expectation, learned
from tests.unit.learn.strategies import event, named


def conditions_of(*events: Json) -> list[str]:
    """Return the conditions of what is learned, but for the program's path."""
    config = config_of(expectation(events))
    rules = [*(config.ingress.rules or ()), *(config.egress.rules or ())]
    return [str(rule.when).removeprefix('binary_path == "/usr/bin/curl" AND ') for rule in rules]


def to(*addresses: str, port: int = 443) -> list[Json]:
    return [event(daddr=address, dport=port) for address in addresses]


@pytest.mark.parametrize(
    ("addresses", "condition"),
    [
        ([f"192.0.2.{i}" for i in range(4)], '["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3"]'),
        ([f"192.0.2.{i}" for i in range(5)], '"192.0.2.0/24"'),
        ([f"10.0.{i}.1" for i in range(9)], '"10.0.0.0/16"'),
        ([f"10.{i}.1.1" for i in range(17)], '"10.0.0.0/8"'),
        ([f"192.168.{i}.1" for i in range(9)], '"192.168.0.0/16"'),
        ([f"127.0.0.{i}" for i in range(5)], '"127.0.0.0/8"'),
        ([f"2001:db8::{i}" for i in range(5)], '"2001:db8::/48"'),
        ([f"2001:db8:{i}::1" for i in range(9)], '"2001:db8::/32"'),
        (["::1", "127.0.0.1"], '["127.0.0.1", "::1"]'),
    ],
)
def test_addresses_near_each_other_are_joined(addresses: list[str], condition: str) -> None:
    (found,) = conditions_of(*to(*addresses))
    assert found.rpartition("ip_dst ")[2].split(" ", 1)[1] == condition


@pytest.mark.parametrize("scattered", [[f"{i}.8.8.8" for i in range(20, 37)], [f"2a{i:02x}::1" for i in range(17)]])
def test_the_internet_has_no_private_networks(scattered: list[str]) -> None:
    text = expectation(to(*scattered))
    others = ["10.1.1.1", "169.254.169.254", "127.0.0.1", "fd00::1", "::1"]
    assert drift_of(text, to(scattered[0], "99.1.2.3" if ":" not in scattered[0] else "2600::1"))[0].count == 0
    assert drift_of(text, to(*others))[0].count == 1  # they have the same cookie
    assert [drift_of(text, to(other))[0].count for other in others] == [1] * len(others)


@pytest.mark.parametrize(
    ("names", "condition"),
    [
        (["example.com"], 'domain == "example.com"'),
        (["b.test", "a.test"], 'domain in ["a.test", "b.test"]'),
        ([f"n{i}.cdn.example.com" for i in range(5)], 'domain like "**.cdn.example.com"'),
        (
            ["cdn.example.com", *(f"n{i}.cdn.example.com" for i in range(5))],
            '(domain == "cdn.example.com" OR domain like "**.cdn.example.com")',
        ),
        ([f"{i}.{i}.{i}.{i}.{i}.example.com" for i in range(5)], 'domain like "**.example.com"'),
        ([f"host{i}.test" for i in range(65)], 'domain like "**"'),
    ],
)
def test_names_come_before_addresses_and_are_joined(names: list[str], condition: str) -> None:
    (found,) = conditions_of(*(event(names=named(name)) for name in names))
    assert found == f"port_dst == 443 AND {condition}"


def test_domains_where_everybody_can_have_a_name_are_not_joined() -> None:
    names = [f"app{i}.{domain}" for domain in ("co.uk", "herokuapp.com", "s3.amazonaws.com") for i in range(6)]
    (found,) = conditions_of(*(event(names=named(name)) for name in names))
    assert "**.co.uk" not in found and "**.herokuapp.com" not in found
    assert "**.s3.amazonaws.com" in found and "**.amazonaws.com" not in found


def test_a_guess_is_no_name() -> None:
    (found,) = conditions_of(event(names=named("example.com", scope="cgroup")))
    assert found == 'port_dst == 443 AND ip_dst == "192.0.2.1"'


def test_ports_are_joined_by_class() -> None:
    (few,) = conditions_of(*(event(dport=port) for port in (443, 80, 8080)))
    assert few.startswith("port_dst in [80, 443, 8080] AND")
    (many,) = conditions_of(*(event(dport=40000 + i) for i in range(17)))
    assert many.startswith("port_dst == 32768-65535 AND")


def test_ports_that_this_host_chooses_anew_are_joined_at_once() -> None:
    found = conditions_of(*(event(dport=port, daddr="127.0.0.1") for port in (40001, 8080)), event(dport=40002))
    assert found == [
        'port_dst in [8080, 32768-65535] AND ip_dst == "127.0.0.1"',
        'port_dst == 40002 AND ip_dst == "192.0.2.1"',
    ]


@pytest.mark.parametrize(
    ("path", "comparison"),
    [
        ("/tmp/go-build1/b001/x.test", 'binary_path like "/tmp/**/x.test"'),
        ("/var/tmp/a/x", 'binary_path like "/var/tmp/**/x"'),
        ("/tmp/x", 'binary_path == "/tmp/x"'),
        ("/tmp/a/*", 'binary_path == "/tmp/a/*"'),
        ("/opt/tmp/a/x", 'binary_path == "/opt/tmp/a/x"'),
    ],
)
def test_directories_for_temporary_files_are_new_each_time(path: str, comparison: str) -> None:
    (found,) = conditions_of(event(binary_path=path))
    assert found.startswith(f"{comparison} AND ")
    other = path.replace("/go-build1/b001/", "/go-build2/").replace("/tmp/a/x", "/tmp/b/c/x")
    expected = 0 if "like" in comparison or other == path else 1
    assert drift_of(expectation([event(binary_path=path)]), [event(binary_path=other)])[0].count == expected


@pytest.mark.parametrize(
    ("keys", "condition"),
    [
        ({"workload": {"unit": "nginx.service"}}, 'unit == "nginx.service"'),
        ({"workload": {"unit": "getty@tty1.service"}}, 'unit like "getty@*.service"'),
        ({"workload": {"unit": "session-4.scope"}}, 'unit like "*.scope"'),
        ({"workload": {"unit": "run-u12.service"}}, 'unit like "run-*.service"'),
        ({"workload": {"unit": "x.service", "container": "db"}}, 'container == "db"'),
        ({"workload": {"namespace": "a", "pod": "b-1", "container": "c"}}, 'namespace == "a" AND container == "c"'),
        ({"container_id": "0123456789ab"}, 'container_id like "*"'),
        ({"workload": {"user": "root"}}, ""),
    ],
)
def test_workloads_are_named_by_what_outlives_a_start(keys: Json, condition: str) -> None:
    assert {*keys.get("workload", {})} <= {*KEYS}
    (found,) = conditions_of(event(**keys))
    assert found.partition("port_dst")[0].removesuffix(" AND ") == condition


def test_scripts_of_interpreters_are_programs_of_their_own() -> None:
    python = {"binary_path": "/usr/bin/python3.11"}
    found = conditions_of(event(args="-u /a.py x", **python), event(args="/b.py", **python), event(args="", **python))
    assert ['script == "/a.py"' in one for one in found] == [True, False, False]
    assert ['script == "/b.py"' in one for one in found] == [False, True, False]
    assert "script" not in found[2]


def test_what_rules_cannot_name_is_counted() -> None:
    learner = learned(
        [
            event(binary_path="memfd:x"),
            event(binary_path=""),
            event(truncated="binary_path"),
            event("Existing"),
            event(),
            {"type": "LostEvents", "lost_events": {"count": 7}, "timestamp": "2026-01-02T03:04:05.678Z"},
        ]
    )
    assert (learner.count, learner.lost, learner.left_out.total()) == (1, 7, 4)
    text = write_expectation(learner)
    assert "# netmon lost 7 events meanwhile" in text
    assert "# Not learned: 3 connections of processes whose path is not known whole." in text


def test_what_follows_an_opening_says_nothing_new() -> None:
    """Such as the name that a client announces, whoever is on the CPU then."""
    opening, name = event(), event("Name", binary_path="/usr/bin/other")
    learner = learned([opening, name])
    assert (learner.count, learner.left_out.total()) == (1, 0)
    text = expectation([])
    drift, reported = drift_of(text, [opening, name])
    assert (drift.count, drift.unknown) == (1, 0)
    assert [one["expected"] for one in reported] == [False, False]
    assert drift_of(text, [name])[0].unknown == 1


HOSTILE = [
    "/tmp/\n- rule: x",
    '/tmp/"',
    "/tmp/'#",
    "/tmp/\u202e\x85",
    "/tmp/ a: {b}",
    "/tmp/\U0001f600\x7f",
    "/-",
    "/..a",
]


def test_hostile_names_are_quoted() -> None:
    events = [event(binary_path=path, args=path) for path in HOSTILE]
    text = expectation(events)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert drift_of(text, events)[0].count == 0
    assert len(config_of(text).egress.rules or ()) == len(HOSTILE)


@pytest.mark.parametrize("text", ["yes", "null", "1", "", "a b", "a\\b", "\ud7ff", "~"])
def test_text_that_yaml_reads_otherwise_is_quoted(text: str) -> None:
    assert quoted(text).startswith('"')


def test_a_program_that_connects_everywhere_is_bounded() -> None:
    learner = Learner()
    for i in range(10_000):
        address = f"{20 + i % 150}.{i % 251}.{i % 241}.{i % 239}"
        names = named(f"{'x' * 60}{i}.{'y' * 50}{i}.h{i % 999}.com") if i % 2 else []
        learner.add(event(daddr=address, dport=i * 7 % 65536, names=names))
    assert learner.count == 10_000
    text = write_expectation(learner)
    assert len(text) < 10_000
    config_of(text)


def test_many_programs_that_connect_everywhere_are_bounded_and_counted() -> None:
    learner = Learner()
    for i in range(25_000):
        names = named(f"{i % 4}.{i % 3}.h{i % 61}.com") if i % 2 else []
        learner.add(
            event(
                binary_path=f"/tmp/{i % (MAX_PROGRAMS + 10)}",
                daddr=f"{i % 200 + 1}.{i % 7}.9.9",
                names=names,
                dport=i % 31 + 1,
            )
        )
    assert learner.left_out[TOO_MANY_PROGRAMS] > 0
    config = config_of(write_expectation(learner))
    assert MAX_PROGRAMS // 2 < len(config.egress.rules or ()) <= MAX_RULES
    assert learner.count + learner.left_out.total() == 25_000


def test_paths_of_places() -> None:
    assert address_path(bytes([10, 1, 2, 3])) == ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3")
    assert address_path(bytes(15) + b"\1") == ("::1",)
    assert name_path("a.b.c.d.e.example.com") == ("example.com", "e", "d", "c", "a.b")
    assert name_path("localhost") == ("localhost",)
