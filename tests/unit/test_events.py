"""The models of the events, and their JSON Schema."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as SchemaError
from pydantic import ValidationError

from netmon.events import Event, NetworkEvent, TcpConnection, event_schema

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4

# The reference's sample of a connect, with its keys in the order in which netmon writes them.
SAMPLE: dict[str, Any] = {
    "type": "NetworkEvent",
    "process": {
        "start_time": "2025-11-21T21:32:13.849Z",
        "pid": 2274372,
        "tid": 2274372,
        "ppid": 2273865,
        "uid": 0,
        "euid": 0,
        "gid": 0,
        "egid": 0,
        "auid": 1000,
        "cap_inheritable": "",
        "cap_permitted": "ALL_CAPS",
        "cap_effective": "ALL_CAPS",
        "secureexec": "",
        "filename": "wget",
        "binary_path": "/usr/bin/wget",
        "args": "-qO- -6 google.com",
    },
    "network_event": {
        "type": "TcpConnectionEstablish",
        "saddr": "2a00:1370:81a6:3f56:3fd6:26ed:b655:ec7a",
        "daddr": "2a00:1450:4010:c01::64",
        "sport": 33978,
        "dport": 80,
        "cookie": 36894,
    },
    "timestamp": "2025-11-23T13:47:33.289Z",
}


# A process in a container closes a connection that another one opened; with the options opener, parent and context.
FULL: dict[str, Any] = {
    "type": "NetworkEvent",
    "process": {**SAMPLE["process"], "container_id": ID, "cgroup": f"/docker/{ID}"},
    "parent": {**SAMPLE["process"], "cgroup": "/"},
    "opener": SAMPLE["process"],
    "network_event": {**SAMPLE["network_event"], "netns": 4026531840, "ifindex": 1, "mark": 42},
    "timestamp": "2025-11-23T13:47:33.289Z",
}


def changed(part: str | None, **keys: Any) -> dict[str, Any]:
    """Return the sample with keys of a part (None: of the event itself) set, or removed if set to `...`."""
    event = copy.deepcopy(SAMPLE)
    target = event if part is None else event[part]
    target.update(keys)
    for key in [key for key, value in keys.items() if value is ...]:
        del target[key]
    return event


@pytest.mark.parametrize("event", [SAMPLE, changed("process", container_id=ID), FULL])
def test_json_has_exactly_the_keys_in_their_order(event: dict[str, Any]) -> None:
    model = NetworkEvent.model_validate(event)
    assert model.model_dump_json() == json.dumps(event, separators=(",", ":"))
    assert model.model_dump() == event
    assert NetworkEvent.model_validate_json(model.model_dump_json()) == model
    assert model.process.model_dump() == event["process"]


def test_a_host_process_has_no_container_in_python() -> None:
    assert NetworkEvent.model_validate(SAMPLE).process.container_id is None


def test_events_cannot_be_changed() -> None:
    event = NetworkEvent.model_validate(SAMPLE)
    with pytest.raises(ValidationError, match="frozen"):
        event.process.pid = 1


REFUSED = [
    changed("process", container_id=1),
    changed("process", gid=...),
    changed("process", pid="1"),
    changed("process", extra=1),
    changed("process", cap_effective=0),
    changed("network_event", type="TcpConnectionOther"),
    changed("network_event", sport=65536),
    changed("network_event", sport=-1),
    changed("network_event", cookie=...),
    changed("network_event", extra=1),
    changed(None, type="Other"),
    changed(None, timestamp=...),
    changed(None, timestamp=0),
    changed(None, extra=1),
    changed(None, parent={}),
    changed(None, opener={**SAMPLE["process"], "parent": SAMPLE["process"]}),
]


@pytest.mark.parametrize("event", REFUSED)
def test_the_schema_and_the_models_refuse_the_same(event: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        Draft202012Validator(event_schema()).validate(event)
    with pytest.raises(ValidationError):
        NetworkEvent.model_validate(event, strict=True)


@pytest.mark.parametrize(
    "event", [changed("process", container_id=None), changed(None, type=...), changed(None, parent=None)]
)
def test_the_schema_refuses_what_netmon_never_writes(event: dict[str, Any]) -> None:
    NetworkEvent.model_validate(event)
    with pytest.raises(SchemaError):
        Draft202012Validator(event_schema()).validate(event)


@pytest.mark.parametrize(
    "event",
    [
        SAMPLE,
        changed("process", container_id=ID),
        changed("network_event", type="TcpConnectionAccept"),
        changed("network_event", type="TcpConnectionClose", cookie=2**64 - 1),
        FULL,
    ],
)
def test_the_schema_accepts_events(event: dict[str, Any]) -> None:
    Draft202012Validator(event_schema()).validate(event)


def test_help_describes_each_field_once() -> None:
    assert "    daddr: The peer's address.\n" in (TcpConnection.__doc__ or "")
    assert (NetworkEvent.__doc__ or "").startswith("What happened to a TCP connection, which process did it, and when.")
    assert "Attributes" not in json.dumps(event_schema())


def test_the_schema_is_valid_and_describes_each_key() -> None:
    schema = event_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["description"]
    assert len(schema["oneOf"]) == len(get_args(Event))
    for part in schema["$defs"].values():
        assert part["description"]
        assert [key for key, value in part["properties"].items() if "description" not in value] == []
