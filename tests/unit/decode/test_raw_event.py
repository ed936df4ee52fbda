"""The two renderings of an event, JSON and model: they agree, and have every key."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netmon.decode.format import EVENT_TYPES
from netmon.events import Ancestor as AncestorModel
from netmon.events import NetworkEvent, Process, ProcessExec, TcpConnection, Workload
from netmon.layout import Ancestor, Foreign, ProcessFlag, RecordType, TcpState
from netmon.text import is_harmless
from netmon.workload import KEYS
from tests.support.decoders import make_decoder
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
from tests.support.runtimes import POD_UID
from tests.support.strategies import ID
from tests.unit.decode.strategies import PROCESS_IDS, detailed_records, event_records, process_records


@given(
    processes=st.tuples(*map(process_records, PROCESS_IDS)),
    events=st.lists(event_records() | detailed_records(), min_size=1, max_size=12),
    with_cgroup=st.booleans(),
)
def test_json_lines_are_the_models_own_json(
    processes: tuple[bytes, ...], events: list[bytes], with_cgroup: bool
) -> None:
    records = [*processes, *events]
    models = list(make_decoder(with_cgroup=with_cgroup).events(batch_of(records)))
    lines = [line for lines in make_decoder(with_cgroup=with_cgroup).json_lines(batch_of(records)) for line in lines]
    # Texts that need escapes beyond JSON's may be written in two ways, which say the same.
    assert [json.loads(line) for line in lines] == [json.loads(model.model_dump_json()) for model in models]
    assert all(is_harmless(line[:-1]) for line in lines)
    assert all(is_harmless(model.model_dump_json()) for model in models)
    assert [NetworkEvent.model_validate_json(line) for line in lines] == models
    assert len(models) == len(events)
    ((*raw,),) = make_decoder(with_cgroup=with_cgroup).raw_events(batch_of(records))
    assert [event.json() for event in raw] == lines
    assert [event.model() for event in raw] == models


def test_json_lines_are_the_text_of_the_models_own_json() -> None:
    records = [process_record(argv="curl\0-d\0café\n日本\0".encode()), ipv4_event(), detailed_event()]
    models = list(make_decoder().events(batch_of(records)))
    ((*lines,),) = make_decoder().json_lines(batch_of(records))
    assert lines == [model.model_dump_json() + "\n" for model in models]


HARMFUL = "\x7f \x9b31m \u202e \u2028 \u200b \U000e0041"


def test_no_harmful_character_is_written_raw() -> None:
    """A terminal, a pager, the journal and a browser show what a process calls itself."""
    texts = HARMFUL.encode()
    records = [
        process_record(process_id=6, pid=100, path=b"/" + texts, argv=b"x\0" + texts, cgroup=texts + b"/"),
        process_record(
            process_id=7, ppid=100, parent_id=6, path=b"/" + texts, argv=b"x\0" + texts, cgroup=texts + b"/"
        ),
        detailed_event() + event_context(opener_id=6),
    ]
    ((line,),) = make_decoder(with_cgroup=True).json_lines(batch_of(records))
    (event,) = make_decoder(with_cgroup=True).events(batch_of(records))
    for written in (
        line[:-1],
        event.model_dump_json(),
        event.model_dump_json(indent=1),
        event.process.model_dump_json(),
    ):
        assert all(character.isprintable() or character == "\n" for character in written)
    fields = json.loads(line)
    for role in ("process", "parent", "opener"):
        assert fields[role]["args"] == fields[role]["filename"] == HARMFUL
        assert fields[role]["binary_path"] == fields[role]["cgroup"] == f"/{HARMFUL}"
    assert event.process.args == HARMFUL


OF_RULES = {"rules", "severity", "tags", "message", "expected"}  # netmon.rules and netmon.learn add these


def test_each_key_of_the_models_is_in_some_event() -> None:
    records = [
        process_record(process_id=6, pid=100),
        exec_record(),
        ancestors_record(Ancestor(6, 5, 100)),
        process_record(
            process_id=7,
            parent_id=6,
            exec_id=3,
            foreign=Foreign.USER,
            ppid=100,
            container_id=ID.encode(),
            cgroup=f"{ID}/pod{POD_UID}/kubepods/a.service/system.slice/".encode(),
            flags=ProcessFlag.PATH_INCOMPLETE,
        ),
        *(
            detailed_event(type=type_, error=1, state=TcpState.ESTABLISHED, is_idle_known=1)
            + event_context(opener_id=6, has_details=1)
            for type_ in RecordType
            if type_ in EVENT_TYPES and type_ != RecordType.NAME  # a hello
        ),
    ]
    keys: dict[str, set[str]] = defaultdict(set)
    options: dict[str, Any] = {"with_cgroup": True, "with_argv": True, "name_source": KnowsAll(), "boot_id": "f" * 32}
    options["with_ancestors"] = True
    for (*lines,) in make_decoder(**options).json_lines(batch_of(records)):
        for event in map(json.loads, lines):
            keys["event"] |= event.keys()
            keys["process"] |= event["process"].keys()
            keys["network_event"] |= event["network_event"].keys()
            keys["exec"] |= event["process"]["exec"].keys()
            keys["ancestor"] |= event["process"]["ancestors"][0].keys()
            keys["workload"] |= event["process"]["workload"].keys()
    assert keys["event"] == set(NetworkEvent.model_fields) - OF_RULES
    assert keys["exec"] == set(ProcessExec.model_fields)
    assert keys["ancestor"] == set(AncestorModel.model_fields)
    assert keys["workload"] == set(Workload.model_fields) == set(KEYS)
    assert keys["process"] == set(Process.model_fields)
    of_others = {"holders", "other_pids", "names"}  # netmon.listing adds the first two, netmon.names the last
    assert keys["network_event"] == set(TcpConnection.model_fields) - of_others


def test_an_argument_that_looks_like_the_thread_id_is_left_alone() -> None:
    """The process's JSON is cut where the thread id goes."""
    records = [process_record(argv=b'x\0"tid":0,\0'), ipv4_event()]
    ((line,),) = make_decoder().json_lines(batch_of(records))
    assert json.loads(line)["process"]["args"] == '"tid":0,'
    assert json.loads(line)["process"]["tid"] == 4243


def test_a_raw_event_has_the_texts_of_its_model() -> None:
    ((raw,),) = make_decoder().raw_events(batch_of([process_record(), ipv4_event()]))
    connection = raw.model().network_event
    assert (raw.type_name, raw.saddr, raw.daddr) == (connection.type, connection.saddr, connection.daddr)
