"""The events' models and schema, and the texts of their fields."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as SchemaError
from pydantic import ValidationError

from netmon.events import (
    CAPABILITIES,
    NetworkEvent,
    container_id_of,
    event_schema,
    format_args,
    format_capabilities,
    format_secureexec,
    format_timestamp,
)

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4

# The reference's sample of a connect, its keys in the order that netmon writes them.
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


def changed(part: str | None, **keys: Any) -> dict[str, Any]:
    """Return the sample with keys of a part (None: of the event) set; those set to ... are taken out."""
    event = copy.deepcopy(SAMPLE)
    target = event if part is None else event[part]
    target.update(keys)
    for key in [key for key, value in keys.items() if value is ...]:
        del target[key]
    return event


@pytest.mark.parametrize("event", [SAMPLE, changed("process", container_id=ID)])
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
]


@pytest.mark.parametrize("event", REFUSED)
def test_the_schema_and_the_models_refuse_the_same(event: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        Draft202012Validator(event_schema()).validate(event)
    with pytest.raises(ValidationError):
        NetworkEvent.model_validate(event, strict=True)


@pytest.mark.parametrize("event", [changed("process", container_id=None), changed(None, type=...)])
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
    ],
)
def test_the_schema_takes_events(event: dict[str, Any]) -> None:
    Draft202012Validator(event_schema()).validate(event)


def test_the_schema_is_one_and_describes_each_key() -> None:
    schema = event_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert [key for key, value in part["properties"].items() if "description" not in value] == []


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_763_905_653_289_000_000, "2025-11-23T13:47:33.289Z"),
        (1_763_905_653_289_999_999, "2025-11-23T13:47:33.289Z"),  # cut, not rounded
        (1_763_905_653_999_999_999, "2025-11-23T13:47:33.999Z"),
        (1_763_905_653_007_000_000, "2025-11-23T13:47:33.007Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
    ],
)
def test_format_timestamp(ns: int, text: str) -> None:
    assert format_timestamp(ns) == text


@given(st.integers(0, 2**63))
def test_timestamps_are_the_calendars(ns: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ns // 1_000_000)
    expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert format_timestamp(ns) == expected


ALL = (1 << 41) - 1


@pytest.mark.parametrize(
    ("mask", "last_cap", "text"),
    [
        (0, 40, ""),
        (ALL, 40, "ALL_CAPS"),
        (1, 40, "CAP_CHOWN"),
        (1 << 13 | 1 << 21, 40, "CAP_NET_RAW | CAP_SYS_ADMIN"),
        (1 << 40, 40, "CAP_CHECKPOINT_RESTORE"),
        (ALL >> 1, 39, "ALL_CAPS"),  # a kernel with one less
        (1 << 41 | 1 << 63 | 2, 63, "CAP_DAC_OVERRIDE | CAP_41 | CAP_63"),  # one with more
        ((1 << 42) - 1, 41, "ALL_CAPS"),
    ],
)
def test_format_capabilities(mask: int, last_cap: int, text: str) -> None:
    assert format_capabilities(mask, last_cap) == text


@pytest.mark.parametrize("number", [0, 12, 40])
def test_all_but_one_capability_is_not_all(number: int) -> None:
    names = format_capabilities(ALL & ~(1 << number), 40).split(" | ")
    assert names == [f"CAP_{name}" for name in CAPABILITIES if name != CAPABILITIES[number]]


@given(st.sets(st.integers(0, 39)))
def test_each_capability_has_its_name(numbers: set[int]) -> None:
    text = format_capabilities(sum(1 << number for number in numbers), 40)
    expected = [f"CAP_{CAPABILITIES[number]}" for number in sorted(numbers)]
    assert [name for name in text.split(" | ") if name] == expected
    assert len(set(CAPABILITIES)) == 41


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, ""),
        (1, "SETUID"),
        (2, "SETGID"),
        (4, "FILE_CAPS"),
        (8, "FILELESS_EXEC"),
        (9, "SETUID | FILELESS_EXEC"),
        (15, "SETUID | SETGID | FILE_CAPS | FILELESS_EXEC"),
    ],
)
def test_format_secureexec(flags: int, text: str) -> None:
    assert format_secureexec(flags) == text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (b"", ""),
        (b"curl\0", ""),
        (b"curl", ""),
        (b"curl\0-s\0a b\0", "-s a b"),
        (b"curl\0-s\0cut off", "-s cut off"),
        (b"curl\0\0x\0", " x"),  # an empty argument
        (b"\0-s\0", "-s"),  # an empty argv[0]
        (b"nginx: worker process\0\0\0\0\0", ""),  # a title over the arguments
        (b"x\0caf\xc3\xa9\0", "caf\u00e9"),
        (b"x\0caf\xe9\0\xff\xfe\0", "caf\\xe9 \\xff\\xfe"),
        (b'x\0say "hi"\n\0', 'say "hi"\n'),
    ],
)
def test_format_args(argv: bytes, text: str) -> None:
    assert format_args(argv) == text


@pytest.mark.parametrize(
    "path",
    [
        f"/system.slice/docker-{ID}.scope",
        f"/docker/{ID}",
        f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/crio-{ID}.scope",
        f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope/container",
        f"/kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/{ID}",
        f"/kubepods/pod1/crio-{ID}",
        f"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}",
        f"/machine.slice/libpod-{ID}.scope",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
        f"/libpod_parent/libpod-{ID}",
        # systemd inside a container
        f"/system.slice/docker-{ID}.scope/init.scope",
        f"/system.slice/docker-{ID}.scope/system.slice/nginx.service",
        # a container inside a container: the inner one
        f"/docker/{OTHER}/docker/{ID}",
        f"/system.slice/docker-{OTHER}.scope/kubelet/kubepods/pod1/{ID}",
        # the keeper of an inner container is in the outer one
        f"/system.slice/docker-{ID}.scope/machine.slice/libpod-conmon-{OTHER}.scope",
    ],
)
def test_containers(path: str) -> None:
    assert container_id_of(path) == ID


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/init.scope",
        "/system.slice/docker.service",
        "/user.slice/user-1000.slice/session-1.scope",
        f"/kubepods.slice/crio-conmon-{ID}.scope",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"/machine.slice/machine-libpod_pod_{ID}.slice",  # a pod is no container
        f"/docker/{ID[:-1]}",
        f"/docker/{ID}0",
        f"/docker/0{ID}",
        f"/docker/{ID.upper()}",
        f"/system.slice/docker-0{ID}.scope",
        f"/system.slice/docker-{ID}.service",
        f"/system.slice/{ID}.slice",
    ],
)
def test_on_the_host(path: str) -> None:
    assert container_id_of(path) is None
