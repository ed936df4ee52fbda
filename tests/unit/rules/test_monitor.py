"""A monitor with rules: what it yields and counts, and a reload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netmon import Config
from netmon.monitor import Monitor
from tests.support.records import batch_of, detailed_event, ipv4_event, process_record
from tests.support.scripted_source import scripted

BOTH = {"ingress": {"enabled": True}, "egress": {"enabled": True}}
CURL = {"rule": "curl", "when": 'binary_name == "curl"'}
TLS = {"rule": "tls", "when": "port_dst == 443", "severity": "high"}


def config_of(*rules: dict[str, Any]) -> Config:
    return Config.from_dict({**BOTH, **({"rules": [*rules]} if rules else {})})


def opening(cookie: int, dport: int = 443) -> bytes:
    return ipv4_event(cookie=cookie, dport=dport)


def lines_of(monitor: Monitor) -> list[Any]:
    return [json.loads(line) for lines in monitor.json_lines(timeout=0) for line in lines]


def test_only_what_a_rule_matches_is_reported_and_counted() -> None:
    records = [process_record(path=b"/usr/bin/curl"), opening(1), opening(2, 80), opening(3, 443)]
    with scripted(batch_of(records), config=config_of(TLS)) as monitor:
        found = lines_of(monitor)
        assert [event["network_event"]["cookie"] for event in found] == [1, 3]
        assert monitor.counters.connection_events == 2
        assert monitor.rule_counts == {"tls": 2}
        assert monitor.losses.unknown_rules == 0


def test_without_rules_nothing_is_named() -> None:
    records = [process_record(), opening(1)]
    with scripted(batch_of(records), config=Config.everything()) as monitor:
        (event,) = lines_of(monitor)
        assert "rules" not in event
        assert monitor.rule_counts == {}


def test_a_reload_swaps_the_rules_and_keeps_open_connections() -> None:
    """From no rules to two, to one of them, and to none."""
    configs = {1: config_of(CURL, TLS), 2: config_of(TLS), 3: config_of()}
    close = detailed_event(cookie=2)
    batches = [
        batch_of([process_record(path=b"/usr/bin/curl"), opening(1, 80)]),
        batch_of([opening(2)]),
        batch_of([close, opening(3), opening(4, 80)]),
        batch_of([opening(5, 80)]),
    ]
    monitors: list[Monitor] = []

    def before(number: int) -> None:
        if number in configs:
            monitors[0].reload(configs[number])

    with scripted(*batches, config=config_of(), before=before) as monitor:
        monitors.append(monitor)
        found = lines_of(monitor)
        assert [(event["network_event"]["cookie"], event.get("rules")) for event in found] == [
            (1, None),
            (2, ["curl", "tls"]),
            (2, ["tls"]),
            (3, ["tls"]),
            (5, None),
        ]
        assert monitor.counters.connection_events == 5


def test_rules_that_are_wrong_change_nothing() -> None:
    with scripted(batch_of([process_record(), opening(1)]), config=config_of(TLS)) as monitor:
        with pytest.raises(ValueError, match="prot"):
            monitor.reload(Config(**BOTH, rules=[{"rule": "a", "when": "prot == 1"}]))  # type: ignore[arg-type,list-item]
        assert [event["rules"] for event in lines_of(monitor)] == [["tls"]]
