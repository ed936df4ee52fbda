"""The paths of fields, and their values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netmon.events import event_schema
from netmon.terminal.fields import FieldError, known_paths, parse_fields, text_of, value_at
from tests.support.json_lines import connection_line, flow_line, loss_line, process


def paths_of(schema: dict[str, Any], part: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the paths that a JSON Schema has."""
    paths = set()
    for name, field in part.get("properties", {}).items():
        choices = [field, *field.get("anyOf", [])]
        paths.add(prefix + name)
        for choice in choices:
            if "$ref" in choice:
                paths |= paths_of(schema, schema["$defs"][choice["$ref"].rpartition("/")[2]], f"{prefix}{name}.")
    return paths


def test_the_paths_are_those_of_the_json_schema() -> None:
    schema = event_schema()
    events = [schema["$defs"][choice["$ref"].rpartition("/")[2]] for choice in schema["oneOf"]]
    assert len(events) == 3
    assert {*known_paths()} == set().union(*(paths_of(schema, event) for event in events))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("process.pdi", "process.pdi is no field of an event; did you mean process.pid?"),
        ("pid", "pid is no field of an event; did you mean process.pid?"),
        ("network.daddr", "network.daddr is no field of an event; did you mean network_event.daddr?"),
        ("flow.peers", "flow.peers is no field of an event; did you mean flow.peer?"),
        ("process.pid,nonsense", "nonsense is no field of an event; netmon help fields lists them"),
        ("process.pid.x", "process.pid.x is no field of an event; did you mean process.pid?"),
        ("Process.Pid", "Process.Pid is no field of an event; did you mean process.pid?"),
        (",,", "names no field; write it like process.pid,network_event.daddr"),
        ("a\x1b", "'a\\x1b' is no field of an event; netmon help fields lists them"),
    ],
)
def test_a_wrong_path_is_refused_and_the_nearest_named(text: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_fields(text)
    assert str(caught.value) == message


def test_a_long_text_is_refused_in_a_short_message() -> None:
    with pytest.raises(FieldError) as caught:
        parse_fields("x" * 100_000)
    assert len(str(caught.value)) < 200


NAMES = [{"name": "a.example", "source": "dns", "scope": "process", "age_ms": 3}]


def test_a_list_of_paths() -> None:
    assert parse_fields(" process.pid, flow,process.pid,") == [("process", "pid"), ("flow",)]


@pytest.mark.parametrize(
    ("line", "path", "text"),
    [
        (connection_line("Fail", reason="refused"), "network_event.reason", "refused"),
        (connection_line("Close"), "network_event.reason", "-"),
        (connection_line("Close"), "flow.peer", "-"),
        (connection_line("Close"), "process.uid", "0"),
        (flow_line(), "flow.peer", "192.0.2.10"),
        (connection_line("Existing", holders=3, other_pids=[7, 8]), "network_event.other_pids", "7, 8"),
        (
            connection_line("Close", by=process(ancestors=[{"start_time": "t", "pid": 7, "filename": "\u202e"}])),
            "process.ancestors",
            '[{"start_time":"t","pid":7,"filename":"\\u202e"}]',
        ),
        (connection_line("Close", by=process(workload={"pod": "web"})), "process.workload.pod", "web"),
        (loss_line(count=1, outputs={"file": 7}), "lost_events.outputs", '{"file":7}'),
        (
            connection_line("Close", names=NAMES),
            "network_event.names",
            '[{"name":"a.example","source":"dns","scope":"process","age_ms":3}]',
        ),
    ],
)
def test_values(line: str, path: str, text: str) -> None:
    (parsed,) = parse_fields(path)
    assert text_of(value_at(json.loads(line), parsed), ascii_only=False) == text


def test_every_value_of_every_event_has_a_text() -> None:
    for line in (connection_line("Close"), flow_line(), loss_line(count=1, outputs={"file": 7})):
        for path in known_paths():
            assert text_of(value_at(json.loads(line), tuple(path.split("."))), ascii_only=False) is not None


def test_a_list_is_its_items_harmless() -> None:
    assert text_of(["a", "b\u202e"], ascii_only=False) == "a, b\\u202e"
    assert text_of([1, 22], ascii_only=False) == "1, 22"
