"""Rules on their whole way: a file, the process that reads it, records, lines and models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netmon import Config
from netmon.cli.config_process import ConfigProcess
from netmon.decode.decoder import Decoder
from netmon.decode.flows import FlowSummary
from netmon.errors import ConfigError, NetmonError
from netmon.events import NetworkEvent, NetworkSummary
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import Watched
from netmon.layout import Direction, Family, Flow, FlowKey, RecordType
from netmon.rules.apply import RuledEvents, RuledSummary
from netmon.rules.events import JsonRules
from netmon.rules.message import MAX_MESSAGE
from netmon.text import is_harmless
from tests.support.decoders import FixedClock, make_decoder, make_table
from tests.support.records import batch_of, detailed_event, ipv4_event, process_record
from tests.unit.decode.strategies import PROCESS_IDS, detailed_records, event_records, process_records

BOTH = {"ingress": {"enabled": True}, "egress": {"enabled": True}}
CURL = {"rule": "curl", "when": 'binary_name == "curl"', "severity": "high", "tags": ["t"]}


def decoder_of(*rules: dict[str, Any], **keys: Any) -> Decoder:
    """Return a decoder with rules."""
    filters = compile_filters(Config.from_dict({**BOTH, "rules": [*rules], **keys}))
    decoder = make_decoder()
    decoder.ruled = RuledEvents(filters.rules, filters.watched)
    return decoder


def lines_of(decoder: Decoder, records: list[bytes]) -> list[str]:
    return [line for lines in decoder.json_lines(batch_of(records)) for line in lines]


def test_lines_have_the_rules_at_their_end() -> None:
    message = {"message": "{process.filename} to {network_event.daddr}:{network_event.dport} {process.exec.path} {{}}"}
    (line,) = lines_of(decoder_of({**CURL, **message}), [process_record(path=b"/usr/bin/curl"), ipv4_event()])
    event = json.loads(line)
    assert [*event][-5:] == ["timestamp", "rules", "severity", "tags", "message"]
    assert [*event.values()][-4:] == [["curl"], "high", ["t"], "curl to 192.0.2.1:443 - {}"]
    assert NetworkEvent.model_validate_json(line).rules == ["curl"]


RULES: list[dict[str, Any]] = [
    {"rule": "ports", "when": "port_dst < 1000 OR uid > 5", "message": "{process.args} \u202e {process.pid}"},
    {"rule": 'caf\u00e9 "x"', "when": 'ip_dst in ["0.0.0.0/1", "::/1"]', "severity": "low", "tags": ["a"]},
    {"rule": "noise", "when": "port_src > 60000", "action": "drop"},
    {"rule": "counted", "when": 'NOT binary_name == "curl"', "action": "count"},
]


@given(
    processes=st.tuples(*map(process_records, PROCESS_IDS)),
    events=st.lists(event_records() | detailed_records(), min_size=1, max_size=12),
    unmatched=st.sampled_from(["drop", "report"]),
)
def test_all_forms_of_events_agree(processes: tuple[bytes, ...], events: list[bytes], unmatched: str) -> None:
    records = [*processes, *events]
    keys = {"unmatched": unmatched}
    lines = lines_of(decoder_of(*RULES, **keys), records)
    models = list(decoder_of(*RULES, **keys).events(batch_of(records)))
    raw = [event for chunk in decoder_of(*RULES, **keys).raw_events(batch_of(records)) for event in chunk]
    assert [json.loads(line) for line in lines] == [json.loads(model.model_dump_json()) for model in models]
    assert [event.json() for event in raw] == lines
    assert [event.model() for event in raw] == models
    assert all(is_harmless(line[:-1]) for line in lines)
    plain = [line for chunk in make_decoder().json_lines(batch_of(records)) for line in chunk]
    of_json = JsonRules(Config.from_dict({**BOTH, "rules": RULES, **keys}))
    assert [line for one in plain if (line := of_json.line(one, json.loads(one)))] == lines


def test_a_message_is_bounded_and_harmless() -> None:
    argv = b"x\0" + b"\x1b[31m\xe2\x80\xae" * 500
    decoder = decoder_of({"rule": "a", "message": "{process.args}" * 10})
    (line,) = lines_of(decoder, [process_record(argv=argv), ipv4_event()])
    assert is_harmless(line[:-1])
    assert len(json.dumps(json.loads(line)["message"])) <= MAX_MESSAGE


def test_a_close_follows_its_opening_through_records() -> None:
    report = {"statistics": True}
    decoder = decoder_of(CURL, {"rule": "sent", "when": "bytes_sent > 1G"}, report=report)
    records = [process_record(path=b"/usr/bin/curl"), ipv4_event(), detailed_event(type=RecordType.CLOSE)]
    assert [json.loads(line)["rules"] for line in lines_of(decoder, records)] == [["curl"], ["curl", "sent"]]


def summary_of(decoder: Decoder, direction: Direction, port: int) -> FlowSummary:
    process = decoder._processes.get(7)
    assert process is not None
    key = FlowKey(7, bytes((192, 0, 2, 1)) + bytes(12), port, Family.IPV4, direction)
    return FlowSummary(key, Flow(3, 2, 1, 10, 20, 30)._replace(bytes_sent=4000), process, "A", "B")


def test_aggregates_have_rules() -> None:
    decoder = decoder_of(
        {"rule": "web", "when": 'port_dst == 443 AND ip_dst == "192.0.2.0/24"', "message": "{flow.peer} {process.pid}"},
        {"rule": "much", "when": 'bytes > 3000 AND event_type == "summary"'},
        {"rule": "here", "when": "port_src == 22 AND NOT port_dst == 1", "action": "count"},
        {"rule": "serves", "when": "port_src == 22"},
        run={"aggregate": "10s"},
    )
    lines_of(decoder, [process_record()])
    ruled = decoder.ruled
    assert ruled is not None
    found = ruled.summary(summary_of(decoder, Direction.EGRESS, 443))
    assert isinstance(found, RuledSummary)
    event = json.loads(found.json())
    assert (event["rules"], event["message"]) == (["web", "much"], "192.0.2.1 4242")
    assert found.model() == NetworkSummary.model_validate_json(found.json())
    found = ruled.summary(summary_of(decoder, Direction.INGRESS, 22))
    assert found is not None
    assert json.loads(found.json())["rules"] == ["much", "serves"]


def test_an_aggregate_that_no_rule_matches_is_left_out() -> None:
    decoder = decoder_of({"rule": "web", "when": "port_dst == 80"})
    lines_of(decoder, [process_record()])
    assert decoder.ruled is not None
    assert decoder.ruled.summary(summary_of(decoder, Direction.EGRESS, 443)) is None


def test_rules_come_out_of_the_process_that_reads_a_file(tmp_path: Path) -> None:
    """Nothing can be imported there: rules with messages take most."""
    config = {**BOTH, "rules": [*RULES, {"rule": "last", "when": 'binary_path like "/**" AND executable == "memory"'}]}
    file = tmp_path / "netmon.yaml"
    file.write_text(yaml.safe_dump(config))
    filters, _ = ConfigProcess(str(file)).result()
    assert filters.rules == compile_filters(Config.from_dict(config)).rules != b""
    filters.release()


def test_problems_come_out_of_it_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "netmon.yaml"
    file.write_text("egress: {enabled: true}\nrules:\n- rule: a\n  when: prot == 1\n  message: '{pid}'\n")
    with pytest.raises(ConfigError, match=r"netmon.yaml:4:9: rules\[0\].when: has prot, which is no attribute"):
        ConfigProcess(str(file)).result()


def test_rules_that_are_none_are_refused() -> None:
    with pytest.raises(NetmonError, match="has answered nonsense: rules are cut short"):
        RuledEvents(b"nonsense", Watched())


def test_the_library_replays_with_rules() -> None:
    rules = JsonRules(Config.from_dict({**BOTH, "rules": [CURL]}))
    records = [process_record(path=b"/usr/bin/curl"), ipv4_event()]
    (event,) = make_decoder().events(batch_of(records))
    ruled = rules.event(event)
    assert isinstance(ruled, NetworkEvent)
    assert (ruled.rules, ruled.severity) == (["curl"], "high")


class LateHost:
    """Knows the name of a container from the second question on."""

    def __init__(self) -> None:
        self.later: list[dict[str, str]] = [{"container": "web"}]

    def container(self, _subject: str) -> dict[str, str] | None:
        return None

    def container_again(self, _subject: str) -> dict[str, str] | None:
        return self.later.pop() if self.later else None

    def user(self, _uid: int) -> str | None:
        return None


def test_the_name_of_a_container_that_is_found_late_reaches_the_rules() -> None:
    rule = {"rule": "web", "when": 'container == "web"'}
    config = Config.from_dict({**BOTH, "rules": [rule], "unmatched": "report", "report": {"workload": True}})
    filters = compile_filters(config)
    table = make_table(name_source=LateHost())
    decoder = Decoder(FixedClock(), table)
    decoder.ruled = RuledEvents(filters.rules, filters.watched)
    named = process_record(cgroup=b"a\0docker\0", container_id=b"0" * 64)
    lines = lines_of(decoder, [named, ipv4_event(cookie=1)])
    table.note_consumed(1)
    lines += lines_of(decoder, [ipv4_event(cookie=2)])
    assert [json.loads(line).get("rules") for line in lines] == [None, ["web"]]
