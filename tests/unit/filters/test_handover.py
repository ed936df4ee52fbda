"""Filters on their way between two processes: what is written is read, and nothing that is damaged is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.config import Config
from netmon.errors import ConfigError, NetmonError, Problem
from netmon.filters import handover
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import MET_MAPS, RULE_MAPS, RULE_PORTS, CompiledFilters
from netmon.filters.handover import (
    BEGIN,
    FAILURE,
    FLAGS,
    HEAD,
    MAGIC,
    PROBLEMS,
    read_filters,
    write_failure,
    write_filters,
    write_problems,
)
from netmon.filters.handover import (
    FILTERS as FILTERS_KIND,
)
from netmon.report import EVENTS
from tests.support import strategies
from tests.support.compiled import in_memory

FILTERS = compile_filters(
    Config.from_dict(
        {
            "egress": {"enabled": True, "ipv4_filter": {"dst_ip": ["10.0.0.0/8"]}, "port_filter": {"dst_port": [443]}},
            "process_filter": {"uid": [0, 7], "pid": [1, 2], "descendants": [3]},
            "report": {"parent": True, "statistics": True, "progress": "30s", "ancestors": 3, "events": ["close"]},
        }
    )
)


def written(filters: CompiledFilters, settings: dict[str, Any] | None = None) -> bytes:
    fd = os.memfd_create("written")
    try:
        write_filters(filters, settings or {}, fd)
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


WRITTEN = written(FILTERS)


@pytest.fixture
def fd() -> Iterator[int]:
    """A file, which read_filters() or release() closes."""
    fd = os.memfd_create("filters")
    yield fd
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def file_of(data: bytes) -> int:
    fd = os.memfd_create("filters")
    os.write(fd, data)
    return fd


@given(strategies.configs() | strategies.configs(names=True))
def test_what_is_written_is_read(config: Config) -> None:
    filters = compile_filters(config)
    read, settings = read_filters(file_of(written(filters)))
    assert (in_memory(read), settings) == (filters, {})
    read.release()


def test_keys_are_read_when_they_are_needed(fd: int) -> None:
    write_filters(FILTERS, {}, fd)
    filters, _ = read_filters(fd)
    assert (len(filters.ids), filters.ids[8:16]) == (len(FILTERS.ids), FILTERS.ids[8:16])
    assert filters.ids[8:1000] == FILTERS.ids[8:]
    filters.release()
    with pytest.raises(NetmonError, match="are not kept"):
        filters.ids[:]
    filters.release()


SETTINGS = {"ring_size": 1 << 20, "aggregate": 10.0, "each": False, "template": "{type}\u00e9"}


def test_settings_are_read_as_they_were(fd: int) -> None:
    write_filters(FILTERS, SETTINGS, fd)
    filters, settings = read_filters(fd)
    assert (in_memory(filters), settings) == (FILTERS, SETTINGS)
    filters.release()


def test_problems_are_read_as_they_were(fd: int) -> None:
    problems = [
        Problem("a.yaml", 7, ("egress", 0), "'x'", "is wrong"),
        Problem("a.yaml", None, (), None, "is empty", 3),
    ]
    write_problems(problems, fd)
    with pytest.raises(ConfigError) as caught:
        read_filters(fd)
    assert caught.value.problems == problems


def test_a_failure_is_read(fd: int) -> None:
    write_failure("no memory", fd)
    with pytest.raises(NetmonError, match=r"^no memory$"):
        read_filters(fd)


def with_json(value: Any, kind: int = PROBLEMS) -> bytes:
    text = json.dumps(value).encode()
    return BEGIN.pack(MAGIC, kind, len(text)) + text


def changed(index: int, value: float) -> bytes:
    """Return FILTERS as they were written, with another number in the head."""
    values = [*HEAD.unpack_from(WRITTEN, BEGIN.size)]
    values[index] = value
    return WRITTEN[: BEGIN.size] + HEAD.pack(*values) + WRITTEN[BEGIN.size + HEAD.size :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"\0" * 100, "another form"),
        (WRITTEN.replace(MAGIC, MAGIC[:-1] + b"\2"), "another form"),
        (BEGIN.pack(MAGIC, PROBLEMS, handover.MAX_JSON + 1), "another form"),
        (WRITTEN[:40], "cut short"),
        (WRITTEN[:-1], "size of the whole"),
        (WRITTEN + b"\0", "size of the whole"),
        (BEGIN.pack(MAGIC, PROBLEMS, 3) + b"{]}", "no JSON"),
        (BEGIN.pack(MAGIC, FAILURE, 1 << 20) + b"[" * (1 << 20), "no JSON"),
        (with_json({}), "dict in place of list"),
        (with_json([[1]]), "a problem is none"),
        (with_json([["a", 1, [1.5], None, "x", None]]), "float in place of int"),
        (with_json([["a", True, [], None, "x", None]]), "bool in place of int"),
        (with_json([], FAILURE), "list in place of str"),
        (written(FILTERS, {"rings": 1}), "a setting is none"),
        (written(FILTERS, {"each": 1}), "int in place of bool"),
        (written(FILTERS, {"ring_size": True}), "bool in place of int"),
        (written(FILTERS, {"record_limit": 1e9}), "float in place of int"),
        (written(FILTERS, {"record": "a\0b"}), "no text"),
        (written(FILTERS, {"user": "\ud800"}), "no text"),
        (with_json([1], FILTERS_KIND) + WRITTEN[BEGIN.size :], "list in place of dict"),
        (with_json({}, FILTERS_KIND)[:-1] + b"]" + WRITTEN[BEGIN.size :], "no JSON"),
        (changed(0, 2), "neither on nor off"),
        (changed(len(FLAGS), len(EVENTS) + 1), "an event is none"),
        (changed(len(FLAGS) + 1, len(EVENTS)), "an event is none"),
        (changed(len(FLAGS) + 1 + len(EVENTS), 0.5), "progress is out of range"),
        (changed(len(FLAGS) + 1 + len(EVENTS), float("nan")), "progress is out of range"),
        (changed(len(FLAGS) + 1 + len(EVENTS) + 1, 17), "ancestors is out of range"),
        (changed(-1, 1 << 63), "size of the whole"),
        (written(FILTERS._replace(ids=b"1234567")), "a part of a key"),
        (written(FILTERS._replace(ports=b"12")), "ports has 2 bytes"),
        (written(FILTERS._replace(rule_ports=b"12")), "rule_ports has 2 bytes"),
        (written(FILTERS._replace(rule_numbers=bytes(24), rule_numbers_met=bytes(8))), "keys without a set"),
        (written(FILTERS._replace(settings=b"\xff" * len(FILTERS.settings))), "neither off nor a list"),
        (written(FILTERS._replace(watched=FILTERS.watched._replace(pids=(0,)))), "out of range"),
    ],
)
def test_what_is_damaged_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NetmonError, match=reason):
        read_filters(file_of(data))


def test_what_rules_want_is_handed_over() -> None:
    condition = (
        'binary_name == "curl" AND binary_prefix == "/usr/" AND port_dst == 22 AND ip_dst in ["10.0.0.0/8", "::1"]'
    )
    config = {"egress": {"enabled": True}, "rules": [{"rule": "all", "when": condition}]}
    filters = compile_filters(Config.from_dict(config))
    assert all(getattr(filters, name) for name in (*RULE_MAPS, *MET_MAPS, RULE_PORTS))
    read, _ = read_filters(file_of(written(filters)))
    assert in_memory(read) == filters
    read.release()


def test_too_large_a_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MAX_SIZE", len(WRITTEN) - 1)
    with pytest.raises(NetmonError, match=f": {len(WRITTEN)} bytes$"):
        read_filters(file_of(WRITTEN))


@given(st.lists(st.tuples(st.integers(0, len(WRITTEN) - 1), st.integers(0, 255)), max_size=8), st.integers(0, 300))
def test_any_damage_gives_filters_or_an_error(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(WRITTEN[: len(WRITTEN) - cut])
    for position, byte in changes:
        if position < len(data):
            data[position] = byte
    try:
        filters, _ = read_filters(file_of(bytes(data)))
    except NetmonError:
        return
    in_memory(filters)
    filters.release()
