"""Filters of recorded events: the same rules as in the kernel, by the model of them."""

from __future__ import annotations

import pytest
from hypothesis import given

from netmon.config import Config
from netmon.errors import ArgumentError
from netmon.filters.events import EventFilter
from netmon.layout import Direction
from tests.support.filter_model import Program, Socket, passes
from tests.support.strategies import CGROUPS, configs, ends, programs, sockets
from tests.unit.test_events import SAMPLE, changed

EGRESS = {"egress": {"enabled": True}}


def event_of(kind: str, saddr: str, daddr: str, program: Program, socket: Socket) -> dict[str, object]:
    process = {
        **SAMPLE["process"],
        "uid": program.uid,
        "euid": program.euid,
        "auid": program.auid,
        "gid": program.gid,
        "binary_path": program.path.decode(errors="backslashreplace"),
        "filename": program.name.decode(errors="backslashreplace"),
        "cgroup": program.cgroup,
        **({"container_id": program.container_id} if program.container_id else {}),
    }
    network = {"saddr": saddr, "daddr": daddr, **socket._asdict(), "type": f"TcpConnection{kind}"}
    return {**SAMPLE, "process": process, "network_event": {**SAMPLE["network_event"], **network}}


def is_answerable(config: Config) -> bool:
    """Return whether events say all that the configuration asks for."""
    process = config.process_filter
    return process is None or process.binary is None or not process.binary.comm


@given(
    config=configs().filter(is_answerable),
    addresses=ends,
    program=programs.filter(lambda one: one.cgroup in CGROUPS),
    socket=sockets,
)
def test_it_passes_what_the_model_passes(
    config: Config, addresses: tuple[str, str], program: Program, socket: Socket
) -> None:
    for kind, direction in (("Accept", Direction.INGRESS), ("Establish", Direction.EGRESS)):
        expected = passes(config, direction, *addresses, program, socket)
        judge = EventFilter(config, with_context=True)
        assert judge.passes(event_of(kind, *addresses, program, socket)) == expected
        # The close follows, whoever closes it.
        other = program._replace(uid=program.uid ^ 1, path=b"/other")
        assert judge.passes(event_of("Close", *addresses, other, socket)) == expected


def test_only_the_chosen_events_pass() -> None:
    judge = EventFilter(Config.from_dict({**EGRESS, "report": {"events": ["close"]}}), with_context=False)
    kinds = ["TcpConnectionEstablish", "TcpConnectionClose", "TcpConnectionFail"]
    assert [judge.passes(changed("network_event", type=kind)) for kind in kinds] == [False, True, False]
    assert judge.passes({"type": "LostEvents"})


def test_a_close_without_an_opening_and_an_existing_connection_are_judged_by_themselves() -> None:
    judge = EventFilter(Config.from_dict({**EGRESS, "process_filter": {"pid": [2274372]}}), with_context=False)
    assert judge.passes(changed("network_event", type="TcpConnectionClose"))
    assert not judge.passes(changed("process", pid=1))
    assert not judge.passes(changed("network_event", type="TcpConnectionExisting", direction="ingress", cookie=1))
    assert judge.passes(changed("network_event", type="TcpConnectionExisting", direction="egress", cookie=2))


def test_a_deleted_executable_matches_by_its_former_path() -> None:
    config = Config.from_dict({**EGRESS, "process_filter": {"binary": {"path": ["/usr/bin/wget"]}}})
    assert EventFilter(config, with_context=False).passes(changed("process", binary_path="/usr/bin/wget (deleted)"))


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"process_filter": {"descendants": [1]}}, "has process_filter.descendants, but events do not say who"),
        ({"process_filter": {"binary": {"comm": ["x"]}}}, "has process_filter.binary.comm, but events do not say"),
        ({"process_filter": {"cgroup": ["/a"]}}, "has process_filter.cgroup, but the events were recorded without"),
        ({"netns_filter": {"netns": [1]}}, "has netns_filter, but the events were recorded without --context"),
        (
            {"name_filter": {"domain": ["a"]}, "report": {"names": True}},
            "has name_filter, but the events were recorded without --names",
        ),
    ],
)
def test_what_events_do_not_say_is_refused(section: dict[str, object], reason: str) -> None:
    with pytest.raises(ArgumentError, match=f"^config: {reason}"):
        EventFilter(Config.from_dict({**EGRESS, **section}), with_context=False)


def test_names_are_judged_as_in_the_run() -> None:
    """At the opening; accepted connections pass."""
    config = Config.from_dict(
        {"ingress": {"enabled": True}, **EGRESS, "report": {"names": True}, "name_filter": {"domain": ["**.example"]}}
    )
    judge = EventFilter(config, with_context=False, with_names=True)
    names = [{"name": "a.example", "source": "dns", "scope": "process", "age_ms": 1}]
    openings = [
        changed("network_event", type="TcpConnectionEstablish", cookie=1, names=names),
        changed("network_event", type="TcpConnectionEstablish", cookie=2),
        changed("network_event", type="TcpConnectionAccept", cookie=3),
    ]
    closes = [changed("network_event", type="TcpConnectionClose", cookie=cookie) for cookie in (1, 2, 3)]
    assert [judge.passes(event) for event in (*openings, *closes)] == [True, False, True] * 2
