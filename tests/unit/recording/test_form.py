"""The header of a recording: what of a run it hands over; and the layout that it names."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from netmon import DecodeError, layout
from netmon.limits import DEFAULT_LINE_LIMIT, MAX_PROGRESS, MIN_PROGRESS
from netmon.recording.form import HEAD, START, Header, layout_id, pack_header, unpack_header
from netmon.recording.writer import END_SIZE, Recorder
from netmon.report import EVENTS, OPTIONS, Report
from tests.support.records import batch_of, exec_record, ipv4_event, process_record, progress_event


def header(**report: Any) -> Header:
    boot_id = "0123456789abcdef" * 2 if report.get("id") else ""
    return Header("1.2", "6.12 x86_64", 40, 5, DEFAULT_LINE_LIMIT, True, True, Report(**report), boot_id)


def payload_of(written: Header) -> bytes:
    return pack_header(written)[START.size + HEAD.size :]


@pytest.mark.parametrize("progress", [MIN_PROGRESS, 2.5, 30, MAX_PROGRESS])
def test_a_header_has_each_option(progress: float) -> None:
    """A new option fails here until it is handed over."""
    every = header(**dict.fromkeys(OPTIONS, True), ancestors=3, progress=progress, events=tuple(EVENTS))
    assert None not in every.report and False not in every.report
    for written in (every, header(), header(progress=progress, events=("progress",))):
        assert unpack_header(payload_of(written)) == written


@pytest.mark.parametrize("progress", [None, True, 0, -1, 0.5, 1e9, 10**400, float("nan"), float("inf"), "30s", [30]])
def test_a_progress_that_no_run_has_is_none(progress: object) -> None:
    fields = json.loads(payload_of(header(progress=30.0)))
    fields["report"]["progress"] = progress
    assert unpack_header(json.dumps(fields).encode()).report.progress is None
    fields["report"]["events"] = ["progress"]
    with pytest.raises(DecodeError, match="its header has options that no run has"):
        unpack_header(json.dumps(fields).encode())


@pytest.mark.parametrize("ancestors", [None, True, 0, -1, 17, 1.5, "3"])
def test_ancestors_that_no_run_has_are_none(ancestors: object) -> None:
    fields = json.loads(payload_of(header(ancestors=3)))
    fields["report"]["ancestors"] = ancestors
    assert unpack_header(json.dumps(fields).encode()).report.ancestors is None


@pytest.mark.parametrize("boot_id", [None, "", "0" * 31, "0" * 33, '"' * 32, 5])
def test_a_boot_id_that_no_host_has_is_refused(boot_id: object) -> None:
    fields = json.loads(payload_of(header(id=True)))
    fields["boot_id"] = boot_id
    with pytest.raises(DecodeError, match="its header has no boot id"):
        unpack_header(json.dumps(fields).encode())


@pytest.mark.parametrize("name", ["RecordType", "ProcessFlag", "ExecFlag", "Foreign"])
def test_records_with_other_flags_have_another_layout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = layout_id()
    monkeypatch.setattr(layout, name, IntEnum(name, {"OTHER": 1}))
    assert layout_id() != before


def test_descriptions_that_a_recording_lacks_are_no_lost_events(tmp_path: Path) -> None:
    size = len(pack_header(header()))
    recorder = Recorder(tmp_path / "recording", header(), END_SIZE + size)
    recorder.batch(batch_of([exec_record(), process_record(exec_id=3), ipv4_event(), progress_event()]))
    recorder.close()
    assert (bool(recorder.problem), recorder.lost) == (True, 2)
