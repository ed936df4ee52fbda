"""Lines are bounded, whatever processes call themselves, and so is the memory that it takes to make them."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netmon.decode import known_process
from netmon.decode import processes as processes_module
from netmon.decode.decoder import CHUNK_SIZE
from netmon.decode.flows import FlowSummary, unpack_flow
from netmon.decode.format import format_args
from netmon.layout import (
    FLOW,
    FLOW_KEY,
    Ancestor,
    Direction,
    Ending,
    Family,
    Flow,
    FlowKey,
    Foreign,
    Limit,
    ProcessFlag,
    RecordType,
    Secureexec,
)
from netmon.limits import DEFAULT_LINE_LIMIT, MAX_LINE_LIMIT
from tests.support.decoders import make_decoder, make_table
from tests.support.name_sources import KnowsAll
from tests.support.records import (
    ancestors_record,
    batch_of,
    detailed_event,
    event_context,
    exec_record,
    ipv4_event,
    process_record,
)
from tests.support.strategies import ID

KEYS = ("filename", "binary_path", "args", "cgroup")
LARGEST = 2**32 - 1
# Credentials as long as they can be: as many names of capabilities as there are without being all.
CREDENTIALS: dict[str, int] = {
    **dict.fromkeys(("uid", "euid", "gid", "egid", "auid", "pid"), LARGEST),
    **dict.fromkeys(("cap_inheritable", "cap_permitted", "cap_effective"), 2**64 - 2),
}
# What makes long JSON of few bytes: control characters, quotes, characters of several bytes, bytes that are not UTF-8.
UNITS = [b"\x01", b'"', b"\\", "\x85".encode(), "é".encode(), "日".encode(), "\U0001f600".encode(), b"\xff", b"a", b"/"]


@st.composite
def texts(draw: st.DrawFn, size: int) -> bytes:
    """Draw up to size bytes, mostly as many."""
    text = b"".join(draw(st.lists(st.sampled_from(UNITS), min_size=1, max_size=4)))
    return (text * size)[: draw(st.sampled_from([size, size - 1, size // 7, 3]))]


@st.composite
def long_processes(draw: st.DrawFn, process_id: int, parent_id: int) -> bytes:
    """Draw a process whose texts are as long as a record can have them."""
    cgroup = draw(texts(Limit.CGROUP_SIZE - 200)).replace(b"/", b"") + b"/" + f"docker-{ID}.scope/".encode()
    return process_record(
        process_id=process_id,
        parent_id=parent_id,
        ppid=LARGEST,
        container_id=ID.encode(),
        path=draw(texts(Limit.PATH_SIZE - 1)),
        argv=b"\0" + draw(texts(Limit.ARGS_SIZE - 1)),
        cgroup=cgroup,
        flags=draw(st.sampled_from([0, ProcessFlag.UNLINKED, ProcessFlag.PATH_INCOMPLETE])),
        secureexec=sum(Secureexec),
        exec_id=process_id,
        foreign=sum(Foreign),
        **(CREDENTIALS if draw(st.booleans()) else {"pid": LARGEST}),
    )


@pytest.mark.parametrize("others", [False, True], ids=["alone", "with parent and opener"])
@given(data=st.data(), limit=st.sampled_from([DEFAULT_LINE_LIMIT, MAX_LINE_LIMIT]))
@settings(max_examples=max(1, settings().max_examples // 3))  # long texts take long
def test_no_line_is_longer(data: st.DataObject, limit: int, others: bool) -> None:
    """Not with every option, the largest numbers and the longest texts."""
    executed = [
        exec_record(data.draw(texts(4095)), b"\0" + data.draw(texts(8191)), exec_id=number) for number in (1, 2)
    ]
    parents = [Ancestor(0, 5, LARGEST)] * data.draw(st.integers(0, Limit.MAX_ANCESTORS - 1))
    lineages = [
        ancestors_record(Ancestor(1, 2**64 - 1, LARGEST), *parents, process_id=process_id) for process_id in (2, 3)
    ]
    processes = [*executed, data.draw(long_processes(1, 0)), lineages[0], data.draw(long_processes(2, int(others)))]
    with_exec = data.draw(st.booleans())
    source = data.draw(st.sampled_from([None, KnowsAll()]))
    if not with_exec:
        processes = processes[2:]
    exiting = process_record(
        process_id=3,
        image_source=2,
        parent_id=2 * others,
        ppid=LARGEST,
        flags=ProcessFlag.NO_IMAGE,
        path=b"",
        argv=b"",
        cgroup=b"c" * 700 + b"/",
        **CREDENTIALS,
    )
    largest: dict[str, int | bytes] = {
        "type": RecordType.CLOSE,
        "family": Family.IPV6,
        "closed_by": Ending.TIMEOUT,
        **dict.fromkeys(("saddr", "daddr"), b"\x20" * 16),
        **dict.fromkeys(("sport", "dport"), 65535),
        **dict.fromkeys(("cookie", "duration_ns", "bytes_sent", "bytes_received"), 2**64 - 1),
        **dict.fromkeys(("segments_retransmitted", "rtt_us", "tid"), LARGEST),
    }
    context = event_context(
        opener_id=2 * others, has_details=1, **dict.fromkeys(("opener_tid", "netns", "ifindex", "mark"), LARGEST)
    )
    records = [
        *processes,
        lineages[1],
        exiting,
        *(detailed_event(process_id=process_id, **largest) + context for process_id in (2, 3)),
    ]
    options: dict[str, Any] = {
        "line_limit": limit,
        "roles": 3 if others else 1,
        "with_cgroup": True,
        "with_exec": with_exec,
    }
    options |= {"name_source": source, "with_ancestors": True, "boot_id": data.draw(st.sampled_from(["", "f" * 32]))}
    decoder = make_decoder(**options)
    lines = [line for chunk in decoder.json_lines(batch_of(records)) for line in chunk]
    assert len(lines) == 2
    for line in lines:
        assert len(line.encode()) <= limit
        event = json.loads(line)
        assert ("parent" in event, "opener" in event) == (others, others)
    whole = make_decoder(line_limit=1 << 20, roles=1, with_cgroup=True)
    ((raw,),) = whole.raw_events(batch_of([*processes, ipv4_event(process_id=2)]))
    shown, full = json.loads(lines[0])["process"], raw.process.fields
    cut = shown.get("truncated", "").split(" | ")
    for key in KEYS:
        assert shown[key] in full[key]
        assert shown[key] == full[key] or key in cut


def test_no_summary_is_longer() -> None:
    table = make_table(roles=2)
    for process_id in (6, 7):
        ids = {**CREDENTIALS, "process_id": process_id, "parent_id": process_id - 1, "ppid": LARGEST}
        table.add(process_record(b"", b"\x01" * 4095, b"\0" + b"\x01" * 8191, **ids))
    process = table.get(7)
    assert process is not None
    key = FLOW_KEY.pack(*FlowKey(7, b"\x20" * 16, 65535, Family.IPV6, Direction.INGRESS))
    largest = FLOW.pack(*Flow(*[2**64 - 1] * len(Flow._fields)))
    time = "2025-11-23T00:00:02.000Z"
    line = FlowSummary(*unpack_flow(key, largest), process, time, time).json()
    assert DEFAULT_LINE_LIMIT / 2 < len(line.encode()) <= DEFAULT_LINE_LIMIT


# An emoji makes Python take four bytes for each character of the text, and each \x01 is six characters of JSON.
EMOJI_AND_CONTROLS = b"x\0" + "\U0001f600".encode() + b"\x01" * (128 << 10)


@pytest.mark.parametrize("limit", [DEFAULT_LINE_LIMIT, MAX_LINE_LIMIT])
def test_events_of_a_process_with_endless_arguments_take_little_memory(limit: int) -> None:
    decoder = make_decoder(read_cmdline=lambda pid, start, exe, comm: EMOJI_AND_CONTROLS, line_limit=limit)
    flags = ProcessFlag.ARGS_INCOMPLETE
    described = process_record(path=b"\x01" * 4095, argv=EMOJI_AND_CONTROLS[: Limit.ARGS_SIZE], flags=flags)
    batch = batch_of([ipv4_event(process_id=7), described, *[ipv4_event()] * 1000])
    tracemalloc.start()
    try:
        seen = 0
        for lines in decoder.json_lines(batch):
            assert sum(map(len, lines)) <= CHUNK_SIZE
            seen += len("".join(lines).encode().splitlines())
        assert seen == 1000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_short_lines_still_come_a_hundred_at_a_time() -> None:
    chunks = make_decoder().json_lines(batch_of([process_record(), *[ipv4_event()] * 250]))
    assert list(map(len, chunks)) == [100, 100, 50]


def test_a_table_is_bounded_in_bytes_though_eviction_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full ring buffer may describe very many processes before an event tells that an old one is not needed."""
    monkeypatch.setattr(processes_module, "HARD_SIZE_LIMIT", 2 << 20)
    oldest: list[int] = []
    table = make_table(bytes_waiting=lambda: 1 << 30, set_oldest=oldest.append, evict_on_add=False)
    tracemalloc.start()
    try:
        for process_id in range(1, 1001):
            argv = b"%d" % process_id + EMOJI_AND_CONTROLS  # each has its own
            table.add(process_record(process_id=process_id, argv=argv[: Limit.ARGS_SIZE]))
            assert table.get(process_id) is not None
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert oldest == sorted(oldest)
    assert table.get(oldest[-1]) is not None  # the kernel refers to it and to later ones
    assert table.get(oldest[-1] - 1) is None


def test_the_memory_of_models_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_process, "MODELS_SIZE_LIMIT", 1 << 20)
    decoder = make_decoder(roles=2)
    list(decoder.events(batch_of([process_record(argv=EMOJI_AND_CONTROLS[: Limit.ARGS_SIZE]), ipv4_event()])))
    records = [ipv4_event(tid=tid) for tid in range(2000)]
    batch = batch_of(records)
    tracemalloc.start()
    try:
        for event, record in zip(decoder.events(batch), range(2000), strict=True):
            assert event.process.tid == record
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("unit", UNITS)
def test_a_line_with_a_list_of_arguments_is_no_longer(unit: bytes) -> None:
    """The list takes half of the room, so both are cut, and both are named."""
    argv = b"\0".join([unit * 300] * 20) + b"\0"
    record = process_record(argv=argv[: Limit.ARGS_SIZE], path=b"/" + b"p" * 4000)
    ((line,),) = make_decoder(with_argv=True).json_lines(batch_of([record, ipv4_event()]))
    process = json.loads(line)["process"]
    assert len(line.encode()) <= DEFAULT_LINE_LIMIT
    whole = format_args(argv).split(" ")
    assert process["argv"][1:-1] == whole[: len(process["argv"]) - 2]
    if "truncated" in process:
        assert "argv" in process["truncated"]
        assert len(json.dumps(process["argv"], separators=(",", ":"), ensure_ascii=False).encode()) > 2000


def test_a_list_of_arguments_has_the_first_one_and_empty_ones() -> None:
    for argv, expected in {
        b"curl\0-H\0\0x y\0": ["curl", "-H", "", "x y"],
        b"title\0\0\0": ["title"],
        b"": None,
    }.items():
        ((line,),) = make_decoder(with_argv=True).json_lines(batch_of([process_record(argv=argv), ipv4_event()]))
        assert json.loads(line)["process"].get("argv") == expected
        records = [process_record(argv=argv), ipv4_event()]
        (model,) = make_decoder(with_argv=True).events(batch_of(records))
        assert model.process.argv == expected
