"""read_events(): lines of JSON as models."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import netmon
from netmon import DecodeError, LostEvents, NetworkEvent, NetworkSummary
from netmon.files import MAX_LINE
from tests.unit.test_events import FULL, SAMPLE, changed

LINES = [json.dumps(event) + "\n" for event in (SAMPLE, FULL)]
LOST = '{"type":"LostEvents","lost_events":{"count":1,"ring_full":1,"over_budget":0,"no_storage":0,"flows_full":0,'
LOST += '"unknown_process":0,"missed":0},"timestamp":"2025-11-23T13:47:33.289Z"}\n'


def write(path: Path, *lines: str) -> Path:
    file = path / "events.jsonl"
    file.write_text("".join(lines))
    return file


def test_events_of_every_type_are_models(tmp_path: Path) -> None:
    events = list(netmon.read_events(write(tmp_path, *LINES, "\n", LOST)))
    assert [type(event) for event in events] == [NetworkEvent, NetworkEvent, LostEvents]
    assert events[:2] == [NetworkEvent.model_validate(SAMPLE), NetworkEvent.model_validate(FULL)]
    assert NetworkSummary not in map(type, events)


def test_lines_of_an_open_file_or_a_list() -> None:
    assert len(list(netmon.read_events(io.StringIO("".join(LINES))))) == 2
    assert len(list(netmon.read_events(io.BytesIO("".join(LINES).encode())))) == 2
    assert len(list(netmon.read_events(LINES))) == 2


def test_keys_of_a_newer_netmon_are_left_out(tmp_path: Path) -> None:
    newer = changed("process", newer={"key": 1})
    newer |= {"another": [1], "parent": {**SAMPLE["process"], "newer": 1}}
    (event,) = netmon.read_events([json.dumps(newer)])
    assert isinstance(event, NetworkEvent)
    assert event.process == NetworkEvent.model_validate(SAMPLE).process == event.parent


@pytest.mark.parametrize("end", [1, 20, len(LINES[1]) - 2])
def test_a_last_line_that_is_cut_off_is_left_out(end: int, tmp_path: Path) -> None:
    assert len(list(netmon.read_events(write(tmp_path, LINES[0], LINES[1][:end])))) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINES[0][:40] + "\n", "Invalid JSON"),
        ("[]\n", "Input should be"),
        (json.dumps(changed(None, type="NewEvent")), "unknown type 'NewEvent'"),
        (json.dumps(changed("process", pid="x")), r"process\.pid: Input should be a valid integer"),
        (json.dumps(changed("process", pid="x", newer=1)), r"process\.pid: Input should be a valid integer"),
        ("[" * 100_000 + "\n", "Invalid JSON"),
        ("x" * (MAX_LINE + 1), "Invalid JSON"),
    ],
)
def test_what_is_no_event_names_its_line(line: str, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path, LINES[0], line, "\n", LINES[1])
    events = netmon.read_events(path)
    assert next(events) == NetworkEvent.model_validate(SAMPLE)
    with pytest.raises(DecodeError, match=rf"^{path}:2: is no event: .*{reason}"):
        next(events)


def test_a_file_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        list(netmon.read_events("/nowhere"))
