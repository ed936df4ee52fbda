"""Each event, in each schema, is what the published schema allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from netmon.events import Process, TcpConnection
from netmon.schemas import SCHEMAS
from netmon.schemas.host import Host
from netmon.text import is_harmless
from tests.support.schemas.validators import ecs_problems, ocsf_problems, otel_problems
from tests.unit.schemas.events import HOST, LINES, render

PROBLEMS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "ecs": ecs_problems,
    "ocsf": ocsf_problems,
    "otel": otel_problems,
}


@pytest.mark.parametrize("host", [HOST, Host()], ids=["a host", "no host"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_event_is_valid(schema: str, host: Host) -> None:
    problems = {name: found for name, document in render(schema, host).items() if (found := PROBLEMS[schema](document))}
    assert not problems


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_validator_finds_what_is_wrong(schema: str) -> None:
    """Else the test above could not fail."""
    document = render(schema)["close"]
    wrong: dict[str, dict[str, Any]] = {
        "ecs": {**document, "network": {"kind": 4}},
        "ocsf": {**document, "activity_id": 17},
        "otel": json.loads(json.dumps(document).replace("network.transport", "net.transport")),
    }
    assert PROBLEMS[schema](wrong[schema])
    missing = {
        "ecs": ("event", {"kind": "no kind"}),
        "ocsf": ("device", {"hostname": "a"}),
        "otel": ("resourceLogs", 1),
    }
    name, value = missing[schema]
    if schema != "otel":
        assert PROBLEMS[schema]({**document, name: value})


@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_value_of_an_event_is_in_each_schema(schema: str) -> None:
    """What has no place of its own is among netmon's own: nothing is dropped in silence."""
    document = json.dumps(render(schema)["close of accepted"])
    event = json.loads(LINES["close of accepted"])
    values = [*_values({**event["process"], "type": ""}), *_values(event["network_event"])]
    # Bytes and times may be added up or converted; these are looked for where they are tested.
    for value in values:
        if isinstance(value, str) and value and "Z" not in value and value not in ("ALL_CAPS",):
            parts = value.split(" | ") if value.startswith("CAP_") else [value]
            assert all(json.dumps(part)[1:-1] in document for part in parts), value


def _values(fields: dict[str, Any]) -> list[Any]:
    return [one for value in fields.values() for one in (_values(value) if isinstance(value, dict) else [value])]


def test_the_events_of_these_tests_have_all_keys() -> None:
    events = [json.loads(line) for line in LINES.values()]
    processes = {key for event in events if "process" in event for key in event["process"]}
    connections = {key for event in events if "network_event" in event for key in event["network_event"]}
    assert processes == {*Process.model_fields}
    assert connections == {*TcpConnection.model_fields}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_processes_call_themselves_is_harmless(schema: str) -> None:
    from netmon.schemas.renderer import Renderer

    for line in Renderer(schema, HOST).lines(LINES.values()):
        assert line.endswith("\n") and is_harmless(line[:-1])


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", ["close", "egress flow"])
def test_keys_that_are_not_known_are_netmons_own(schema: str, name: str) -> None:
    """A report option that comes later is not dropped, and does not break the schema."""
    event = json.loads(LINES[name])
    for part in ("process", "network_event" if "network_event" in event else "flow"):
        event[part]["new_key"] = {"inside": f"in {part}"}
    event["new_section"] = ["in the event"]
    (document,) = render(schema, one=json.dumps(event)).values()
    assert PROBLEMS[schema](document) == []
    text = json.dumps(document)
    assert text.count('"in process"') == text.count('"in the event"') == 1
    assert ('"in network_event"' in text) is (name == "close") and ('"in flow"' in text) is (name != "close")
