"""Lists of what is open: what is asked of the kernel, and what is made of its records."""

from __future__ import annotations

import pytest

from netmon.config import Config
from netmon.errors import KernelError, NetmonError
from netmon.filters.compiled import CompiledFilters
from netmon.kernel.bpf import ProgramInfo
from netmon.kernel.marks import FollowedProcess
from netmon.layout import RecordType
from netmon.listing import PIDS_NAMED, connections, list_open, merge
from netmon.losses import Losses
from netmon.report import Report
from tests.support.decoders import make_decoder
from tests.support.records import batch_of, detailed_event, process_record

NOTHING_LOST = Losses()


class Ring:
    """Batches, one for each step of the walk, in two parts each."""

    def __init__(self, batches: list[list[bytes]]) -> None:
        self._parts = [part for records in batches for part in (records[:1], records[1:])]
        self.batch = batch_of([])
        self.waiting = 0

    def fill(self, limit: int) -> bool:
        self.batch = batch_of(self._parts.pop(0))
        return len(self._parts) % 2 == 1

    def fileno(self) -> int:
        raise AssertionError("nothing is waited for")


class Walk:
    """A source whose walk finds a batch of records at each step."""

    def __init__(self, *batches: list[bytes], losses: Losses = NOTHING_LOST) -> None:
        self.ring = Ring([*batches])
        self.blind = ""
        self.flows_are_many = False
        self.filters: CompiledFilters | None = None
        self.calls: list[str] = []
        self._steps = len(batches)
        self._losses = losses

    def __call__(self, filters: CompiledFilters, ring_size: int, *, aggregate: bool) -> Walk:
        self.filters = filters
        return self

    def attach(self) -> None:
        self.calls.append("attach")

    def close(self) -> None:
        self.calls.append("close")

    def report_existing(self) -> bool:
        self._steps -= 1
        return self._steps > 0

    def read_losses(self) -> Losses:
        return self._losses

    def set_oldest_process_id(self, process_id: int) -> None:
        raise AssertionError("there are few processes")

    def detach(self) -> None:
        raise AssertionError("nothing is attached")

    def swap_filters(self, filters: CompiledFilters) -> None:
        raise AssertionError("there is no reload")

    def follow(self, pid: int) -> None:
        raise AssertionError("nothing is followed")

    def followed(self) -> list[FollowedProcess]:
        return []

    def report_open(self, *, anew: bool = False) -> bool:
        raise AssertionError("nothing is kept")

    @property
    def inexact(self) -> str:
        return ""

    def take_flows(self) -> list[tuple[bytes, bytes]]:
        return []

    def program_infos(self) -> list[ProgramInfo]:
        return []


def existing(cookie: int, process_id: int = 7) -> bytes:
    return detailed_event(type=RecordType.EXISTING, cookie=cookie, process_id=process_id, state=1)


CURL, OTHER = process_record(), process_record(process_id=8, pid=5000)


def test_each_connection_is_listed_once_with_its_holders() -> None:
    walk = Walk([CURL, existing(1), existing(1), existing(2)], [OTHER, existing(2, 8), existing(3, 8)])
    found = list_open(None, any_kernel=True, open_source=walk)
    assert {cookie: (event.process.pid, event.details["holders"]) for cookie, event in found.items()} == {
        1: (4242, 1),
        2: (4242, 2),
        3: (5000, 1),
    }
    assert found[2].details["other_pids"] == [5000]
    assert found[2].model().network_event.other_pids == [5000]
    assert "other_pids" not in found[1].details
    assert walk.calls == ["attach", "close"]


def test_it_asks_for_a_snapshot_with_statistics_whatever_the_configuration_reports() -> None:
    walk = Walk([])
    config = Config.from_dict({"egress": {"enabled": True}, "report": {"outcome": True, "events": ["close"]}})
    assert list_open(config, parent=True, any_kernel=True, open_source=walk) == {}
    assert walk.filters is not None
    watched = walk.filters.watched
    assert (watched.snapshot, watched.ingress, watched.egress) == (True, False, True)
    assert watched.report == Report(existing=True, statistics=True, parent=True)


@pytest.mark.parametrize(
    ("walk", "reason"),
    [
        (Walk([CURL], losses=Losses(ring_full=2)), r"not complete: 2 lost \(2 ring full\); try again"),
        (Walk([existing(1)]), r"1 lost \(1 unknown process\)"),
    ],
    ids=["in the kernel", "unknown process"],
)
def test_a_list_that_is_not_complete_is_refused(walk: Walk, reason: str) -> None:
    with pytest.raises(NetmonError, match=reason):
        list_open(None, any_kernel=True, open_source=walk)
    assert walk.calls == ["attach", "close"]


def test_few_of_many_holders_are_named() -> None:
    processes = [process_record(process_id=number, pid=number) for number in range(1, 101)]
    events = [existing(1, number) for number in range(1, 101) for _ in range(2)]
    raw = [event for some in make_decoder().raw_events(batch_of([*processes, *events])) for event in some]
    found = merge(raw)
    assert found[1].details["holders"] == 100
    assert found[1].details["other_pids"] == list(range(2, 2 + PIDS_NAMED))


def test_an_old_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_release: str) -> None:
        raise KernelError("too old")

    monkeypatch.setattr("netmon.listing.require_kernel", refuse)
    with pytest.raises(KernelError, match="too old"):
        connections()
