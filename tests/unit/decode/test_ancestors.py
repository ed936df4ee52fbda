"""Who a process descends from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netmon.decode.processes import LINEAGES_KEPT, ProcessTable
from netmon.errors import DecodeError
from netmon.layout import ANCESTORS_HEAD, Ancestor, Limit, ProcessFlag
from tests.support.decoders import make_decoder, make_table
from tests.support.records import ancestors_record, batch_of, detailed_event, event_context, ipv4_event, process_record

SECOND = 1_000_000_000
CHILD, SHELL, DAEMON, FIRST = (number << Limit.TEXTS_BITS | 3 for number in (9, 8, 7, 6))
BOOT = "0123456789abcdef" * 2
# As the kernel half sends them: each is described before the process that descends from it.
DESCRIBED = [
    process_record(process_id=SHELL, pid=30, path=b"/bin/bash", argv=b"bash\0-c\0curl\0", start_time_ns=3 * SECOND),
    process_record(process_id=DAEMON, pid=20, path=b"/sbin/cron", argv=b"cron\0", start_time_ns=2 * SECOND),
]
LINEAGE = ancestors_record(
    Ancestor(SHELL, 3 * SECOND, 30), Ancestor(DAEMON, 2 * SECOND, 20), Ancestor(FIRST, SECOND, 1), process_id=CHILD
)
CHILD_RECORD = process_record(process_id=CHILD, pid=40, ppid=30)


def table_of(*records: bytes, **options: Any) -> ProcessTable:
    table = make_table(with_ancestors=True, **options)
    for record in records:
        (table.add_ancestors if record[0] == LINEAGE[0] else table.add)(record)
    return table


def ancestors_of(table: ProcessTable, process_id: int = CHILD) -> Any:
    process = table.get(process_id)
    assert process is not None
    return process.fields.get("ancestors")


def test_ancestors_are_named_if_they_were_described() -> None:
    table = table_of(*DESCRIBED, LINEAGE, CHILD_RECORD)
    assert ancestors_of(table) == [
        {"start_time": "2025-11-23T00:00:03.000Z", "pid": 30, "filename": "bash", "args": "-c curl"},
        {"start_time": "2025-11-23T00:00:02.000Z", "pid": 20, "filename": "cron", "args": ""},
        {"start_time": "2025-11-23T00:00:01.000Z", "pid": 1},
    ]
    process = table.get(CHILD)
    assert process is not None
    assert process.fields["truncated"] == "ancestors"  # of the first, nothing more is known
    model = process.model(40).ancestors
    assert model is not None
    assert [each.filename for each in model] == ["bash", "cron", None]


def test_ids_are_those_of_the_processes() -> None:
    table = table_of(*DESCRIBED, LINEAGE, CHILD_RECORD, boot_id=BOOT)
    shell = table.get(SHELL)
    assert shell is not None
    assert shell.fields["id"] == ancestors_of(table)[0]["id"] == f"{BOOT}.{3 * SECOND}.30"
    child = table.get(CHILD)
    assert child is not None
    assert [*child.fields][:5] == ["start_time", "pid", "tid", "id", "ppid"]


def test_a_later_description_has_the_ancestors_of_then() -> None:
    orphan = ancestors_record(Ancestor(0, SECOND, 1), process_id=CHILD + 256)
    table = table_of(*DESCRIBED, LINEAGE, CHILD_RECORD, orphan, process_record(process_id=CHILD + 256, pid=40, ppid=1))
    assert [each["pid"] for each in ancestors_of(table)] == [30, 20, 1]
    assert [each["pid"] for each in ancestors_of(table, CHILD + 256)] == [1]


def test_they_belong_to_one_process() -> None:
    """A process whose record was lost leaves none to others, nor does one that describes itself without any."""
    table = table_of(LINEAGE, process_record(process_id=CHILD + 256, pid=41), CHILD_RECORD, CHILD_RECORD)
    assert ancestors_of(table, CHILD + 256) is None
    assert ancestors_of(table) is None


def test_those_that_wait_for_a_process_are_bounded() -> None:
    table = table_of(*(ancestors_record(Ancestor(0, 5, 1), process_id=number << 8) for number in range(5000)))
    assert len(table._lineages) == LINEAGES_KEPT


def test_parents_and_openers_are_without_theirs() -> None:
    records = [*DESCRIBED, LINEAGE, CHILD_RECORD, process_record(process_id=5, pid=50, ppid=40, parent_id=CHILD)]
    records += [detailed_event(process_id=5) + event_context(opener_id=CHILD), ipv4_event(process_id=CHILD)]
    (lines,) = make_decoder(with_ancestors=True).json_lines(batch_of(records))
    first, second = map(json.loads, lines)
    assert "ancestors" not in first["parent"]
    assert "ancestors" not in first["opener"]
    assert len(second["process"]["ancestors"]) == 3
    models = make_decoder(with_ancestors=True).events(batch_of(records))
    assert [model.model_dump_json() + "\n" for model in models] == lines


def test_texts_are_cut_to_a_share_of_the_line() -> None:
    texts = b"\x01" * 4000
    described = [
        process_record(process_id=number << 8, pid=number, path=b"/" + texts, argv=b"x\0" + texts)
        for number in range(100, 116)
    ]
    lineage = ancestors_record(*(Ancestor(number << 8, 5, number) for number in range(100, 116)), process_id=CHILD)
    table = table_of(*described, lineage, CHILD_RECORD, boot_id=BOOT)
    process = table.get(CHILD)
    assert process is not None
    found = process.fields["ancestors"]
    assert len(found) == Limit.MAX_ANCESTORS
    assert all(each["filename"] in texts.decode() and each["args"] in texts.decode() for each in found)
    assert "ancestors" in process.fields["truncated"]
    assert len(json.dumps(found, separators=(",", ":"))) <= 3 << 10


def test_what_an_ancestor_runs_may_be_unknown() -> None:
    nameless = process_record(process_id=SHELL, pid=30, path=b"", argv=b"", flags=int(ProcessFlag.NO_IMAGE))
    table = table_of(nameless, ancestors_record(Ancestor(SHELL, 5, 30), process_id=CHILD), CHILD_RECORD)
    assert [[*each] for each in ancestors_of(table)] == [["start_time", "pid"]]


@pytest.mark.parametrize("record", [LINEAGE[:-1], LINEAGE[: ANCESTORS_HEAD.size - 1]])
def test_a_record_that_is_too_short_is_refused(record: bytes) -> None:
    with pytest.raises(DecodeError, match="an ancestors record has"):
        table_of(record)


def test_without_the_option_processes_have_none() -> None:
    table = make_table()
    table.add(CHILD_RECORD)
    assert ancestors_of(table) is None
