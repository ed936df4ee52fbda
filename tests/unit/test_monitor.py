"""The Monitor in a program of any kind. A socket filter fills its ring buffer; loading that takes root."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import pytest
import trio

from netmon import LostEvents, Monitor, NetmonError, NetworkEvent
from netmon.batch import Batch
from netmon.decode.loss_report import LossReport
from netmon.events import Event
from netmon.losses import Losses
from tests.support.record_mixes import MIXES
from tests.support.ring_filler import Filler, watching

DEADLINE = 30.0  # seconds
MIX = MIXES["1 process, IPv4"]
EVENTS = 40
LOCKED = 0.01  # seconds


@pytest.fixture
def filled() -> Iterator[tuple[Monitor, Filler]]:
    """A monitor whose ring buffer has a process and EVENTS of its events, and the filler of the buffer."""
    with watching(MIX) as (monitor, filler):
        filler.send(1 + EVENTS)
        yield monitor, filler


@pytest.fixture
def monitor(filled: tuple[Monitor, Filler]) -> Monitor:
    """The same monitor without its filler."""
    return filled[0]


def cookies_of(events: list[Event]) -> list[int]:
    return [event.network_event.cookie for event in events if isinstance(event, NetworkEvent)]


def is_readable(monitor: Monitor, seconds: float = 0) -> bool:
    return bool(select.select([monitor.fileno()], [], [], seconds)[0])


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked child; return its exit code: 0 when nothing was raised."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_async_for_lets_other_tasks_run_and_ends_when_stopped(filled: tuple[Monitor, Filler]) -> None:
    monitor, filler = filled
    seen: list[Event] = []

    async def read() -> None:
        async for event in monitor:
            seen.append(event)

    async def main() -> None:
        reading = asyncio.create_task(read())
        for count in (EVENTS, EVENTS + 2, EVENTS + 4):
            while len(seen) < count:
                await asyncio.sleep(0.001)
            filler.send(2)
        asyncio.get_running_loop().call_later(0.01, monitor.stop)
        await reading

    before = threading.active_count()
    asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert threading.active_count() == before
    assert len(seen) == filler.events == EVENTS + 6
    assert cookies_of(seen) == sorted(cookies_of(seen))


def test_async_iterations_end_when_nothing_happens(monitor: Monitor) -> None:
    async def main() -> int:
        raw = [len(events) async for events in monitor.raw_events(timeout=0.05)]
        return sum(raw) + len([event async for event in monitor.events(timeout=0.05)])

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == EVENTS


def test_a_cancelled_iteration_loses_nothing(filled: tuple[Monitor, Filler]) -> None:
    monitor, filler = filled
    seen: list[Event] = []

    async def read(count: int) -> None:
        async for event in monitor:
            seen.append(event)
            if len(seen) == count:
                await asyncio.sleep(DEADLINE)

    async def main() -> None:
        for count in (3, EVENTS + 1, EVENTS + 15, EVENTS + 31):  # in a batch, and while waiting for the next
            reading = asyncio.create_task(read(count))
            while len(seen) < count - 1:
                await asyncio.sleep(0.001)
            reading.cancel()
            await asyncio.wait([reading])
            filler.send(10)
        monitor.stop()
        async for event in monitor:
            seen.append(event)

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert len(set(cookies_of(seen))) == len(seen) / 2
    assert len(seen) == filler.events


def test_one_task_reads_a_monitor_while_another_reads_another(monitor: Monitor) -> None:
    async def read(monitor: Monitor) -> int:
        return len([event async for event in monitor])

    async def main() -> None:
        with watching(MIX) as (other, filler):
            filler.send(11)
            tasks = [asyncio.create_task(read(each)) for each in (monitor, other)]
            while not (monitor.counters.connection_events == EVENTS and other.counters.connection_events == 10):
                await asyncio.sleep(0.001)
            with pytest.raises(NetmonError, match="another task"):
                await read(monitor)
            for each in (monitor, other):
                each.stop()
            assert await asyncio.gather(*tasks) == [EVENTS, 10]

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_closing_ends_an_iteration_in_a_waiting_task(monitor: Monitor) -> None:
    async def read() -> int:
        return len([event async for event in monitor])

    async def main() -> int:
        reading = asyncio.create_task(read())
        while monitor.counters.connection_events < EVENTS:
            await asyncio.sleep(0.001)
        monitor.close()
        return await reading

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == EVENTS


def test_trio_waits_for_the_descriptor_and_async_for_says_how(monitor: Monitor) -> None:
    async def wait() -> list[Event]:
        seen: list[Event] = []
        with trio.fail_after(DEADLINE):
            while not monitor.finished:
                await trio.lowlevel.wait_readable(monitor.fileno())
                seen += monitor.poll(0)
                if len(seen) == EVENTS:
                    monitor.stop()
        return seen

    async def iterate() -> None:
        async for _ in monitor:
            pass

    with pytest.raises(NetmonError, match=r"trio\.lowlevel\.wait_readable"):
        trio.run(iterate)
    monitor.close()
    with watching(MIX) as (monitor, filler):
        filler.send(1 + EVENTS)
        assert len(trio.run(wait)) == EVENTS


def test_the_descriptor_is_readable_for_records_for_losses_and_after_stop(filled: tuple[Monitor, Filler]) -> None:
    monitor, filler = filled
    assert is_readable(monitor)
    assert len(monitor.poll(0)) == EVENTS
    assert not is_readable(monitor)
    assert monitor.poll(0) == monitor.poll(0.01) == []
    filler.send(100_000)  # more than there is room for
    reported: list[int] = []
    while not reported:  # the losses are reported within a second, without another record
        assert is_readable(monitor, DEADLINE)
        reported = [event.lost_events.ring_full for event in monitor.poll(0) if isinstance(event, LostEvents)]
    assert reported == [filler.lost] == [monitor.losses.total]
    while monitor.poll(0):
        pass
    monitor.stop()
    assert is_readable(monitor) and not monitor.finished
    assert monitor.poll() == [] and monitor.finished and monitor.poll() == []


def test_polling_waits_until_the_timeout(monitor: Monitor) -> None:
    monitor.poll(0)
    begin = time.monotonic()
    assert monitor.poll(0.2) == []
    assert time.monotonic() - begin >= 0.2


def test_an_exception_amid_polling_loses_nothing(monitor: Monitor) -> None:
    decoded = monitor._decoder.events

    def interrupted(batch: Batch) -> Iterator[NetworkEvent]:
        yield from islice(decoded(batch), 3)
        raise KeyboardInterrupt

    with patch.object(monitor._decoder, "events", interrupted), pytest.raises(KeyboardInterrupt):
        monitor.poll(0)
    assert not monitor.finished
    assert len(set(cookies_of(monitor.poll(0)))) == EVENTS / 2


def test_an_iteration_over_every_type_can_be_resumed_after_an_exception(monitor: Monitor) -> None:
    seen: list[Event] = []

    def read() -> None:
        for event in monitor.events():
            seen.append(event)
            if len(seen) == 3:
                raise KeyError
            if len(seen) == EVENTS:
                monitor.stop()

    with pytest.raises(KeyError):
        read()
    read()
    assert len(seen) == EVENTS


def test_raw_events_have_what_the_models_have() -> None:
    mix = MIXES["1,000 processes, IPv4 and IPv6"]
    count = len(mix.first) + len(mix.again)
    with watching(mix) as (monitor, filler), watching(mix) as (other, other_filler):
        filler.send(count)
        other_filler.send(count)
        raws = [event for events in monitor.raw_events(timeout=0) for event in events]
        for raw, event in zip(raws, other.connection_events(timeout=0), strict=True):
            network = event.network_event
            expected = (network.type, network.saddr, network.daddr, network.sport, network.dport, network.cookie)
            assert (raw.type_name, raw.saddr, raw.daddr, raw.sport, raw.dport, raw.cookie) == expected
            assert raw.process.model(raw.tid) == event.process
            assert raw.timestamp_ns // 1_000_000 % 1000 == int(raw.timestamp[-4:-1])
    assert len({id(raw.process) for raw in raws}) == len(mix.first)


def test_counters_are_exact_at_any_time(filled: tuple[Monitor, Filler]) -> None:
    monitor, _ = filled
    waiting = monitor.counters.bytes_waiting
    assert waiting > EVENTS * 56 and monitor.counters._replace(bytes_waiting=0) == (0, 0, 0, 0, 0, 0)
    for count, _event in enumerate(monitor.connection_events(timeout=0), 1):
        assert monitor.counters == (count, waiting, 0, 1, 1, 0)
    monitor.close()
    assert monitor.counters.connection_events == count == EVENTS


def test_a_forked_child_does_not_disturb_the_parents_monitor(filled: tuple[Monitor, Filler]) -> None:
    monitor, filler = filled
    events = iter(monitor)
    seen = [next(events) for _ in range(3)]

    def child() -> None:
        monitor.stop()
        for read in (monitor.poll, monitor.fileno, lambda: next(iter(monitor)), lambda: monitor.reload(None)):
            with pytest.raises(NetmonError, match="forked"):
                read()
        with pytest.raises(NetmonError, match="forked"):
            list(events)  # what is left of the batch, then an error
        monitor.close()
        monitor.close()

    filler.send(10)
    assert in_child(child) == 0
    assert not monitor.stopped
    filler.send(10)
    assert len(seen) + len(list(monitor.connection_events(timeout=0))) == EVENTS + 20


def test_closing_from_another_thread_ends_the_iteration(monitor: Monitor) -> None:
    seen: list[Event] = []
    reading = threading.Thread(target=lambda: seen.extend(monitor.events()))
    reading.start()
    while len(seen) < EVENTS:
        time.sleep(0.001)
    monitor.close()
    reading.join(DEADLINE)
    assert not reading.is_alive()


READINGS: dict[str, Callable[[Monitor], object]] = {
    "losses": lambda monitor: monitor.losses,
    "counters": lambda monitor: monitor.counters,
    "finished": lambda monitor: monitor.finished,
    "events": lambda monitor: list(monitor.events(timeout=0)),
    "json_lines": lambda monitor: list(monitor.json_lines(timeout=0)),
}


@pytest.mark.parametrize("reading", READINGS)
def test_a_monitor_may_be_closed_at_any_moment_of_a_reading(reading: str) -> None:
    """Another thread closes it: each time before another of the instructions of monitor.py that the reading runs."""
    moment = 0
    closed = True
    while closed:
        moment += 1
        closed = closes_at(moment, READINGS[reading])
    assert moment >= 10


def closes_at(moment: int, read: Callable[[Monitor], object]) -> bool:
    """Read a monitor and close it before that instruction; return whether the reading ran so many."""
    instructions = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal instructions
        if not frame.f_code.co_filename.endswith("netmon/monitor.py"):
            return None
        frame.f_trace_opcodes = True
        instructions += event == "opcode"
        if instructions == moment:
            sys.settrace(None)
            closing.start()
            closing.join(LOCKED)  # it takes longer only where this thread holds the lock
        return trace

    with watching(MIX, batch_delay=0) as (monitor, filler):
        filler.send(2)
        closing = threading.Thread(target=monitor.close)
        sys.settrace(trace)
        try:
            read(monitor)
        except NetmonError as error:
            if "not running" not in str(error):  # the error of an iteration that begins after the closing
                raise
        finally:
            sys.settrace(None)
        if closing.ident is None:
            return False
        closing.join(DEADLINE)
        assert not closing.is_alive()
        return True


def test_the_losses_of_outputs_are_among_the_monitors_losses() -> None:
    lost = {"file": 3}
    with watching(MIX, output_losses=lambda: lost) as (monitor, filler):
        assert monitor.losses == Losses(outputs={"file": 3})
        filler.send(2)
        events = monitor.poll(0)
        assert [event.lost_events.outputs for event in events if isinstance(event, LostEvents)] == [{"file": 3}]
        lost["file"] = 5
    assert monitor.losses.outputs == {"file": 5}
    assert monitor.losses.total == 0


@pytest.mark.parametrize(
    "read", [lambda monitor: next(iter(monitor.events()), None), lambda monitor: next(iter(monitor.json_lines()), None)]
)
def test_an_exception_while_a_report_is_rendered_does_not_lose_it(read: Callable[[Monitor], object]) -> None:
    """A signal handler may raise at any moment of a reading."""
    with watching(MIX, output_losses=lambda: {"file": 3}) as (monitor, filler):
        filler.send(1)  # a process without events
        with patch.object(LossReport, "json", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            read(monitor)
        (event,) = monitor.poll(0)
        assert isinstance(event, LostEvents)
        assert event.lost_events.outputs == {"file": 3}
        assert monitor.poll(0) == []


def test_stopping_while_another_thread_starts_and_closes() -> None:
    """stop() writes to the monitor's own descriptor, never to another file with the same number."""
    with watching(MIX) as (monitor, _):
        ended = threading.Event()

        def keep_stopping() -> None:
            while not ended.is_set():
                monitor.stop()

        stopping = threading.Thread(target=keep_stopping)
        stopping.start()
        try:
            for _ in range(50):
                monitor.close()
                # These have the numbers that were just freed.
                pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(4)]
                for reader, _writer in pipes:
                    with pytest.raises(BlockingIOError):
                        os.read(reader, 8)
                for fd in sum(pipes, ()):
                    os.close(fd)
                monitor.start()
        finally:
            ended.set()
            stopping.join()


def test_closing_frees_every_descriptor() -> None:
    with watching(MIX):
        pass
    before = descriptors()
    with watching(MIX) as (monitor, _):
        monitor.poll(0)
    assert descriptors() == before


def test_messages_go_to_the_log_only(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG, "netmon.monitor"), watching(MIX) as (monitor, _):
        monitor.reload(None)
    said = [record.getMessage().partition(":")[0] for record in caplog.records if record.name == "netmon.monitor"]
    assert said == ["started", "reloaded", "closed"]
    assert capfd.readouterr() == ("", "")


def test_two_threads_that_read_at_once(monitor: Monitor) -> None:
    """The second gets an error; the first continues."""
    seen: list[NetworkEvent] = []
    first = threading.Thread(target=lambda: seen.extend(monitor))
    first.start()
    end = time.monotonic() + DEADLINE
    while len(seen) < EVENTS or monitor._running()._single_reader.thread != first.ident:
        assert time.monotonic() < end
    with pytest.raises(NetmonError, match="another thread"):
        monitor.poll(0)
    monitor.stop()
    first.join(DEADLINE)
    assert not first.is_alive()


@pytest.mark.parametrize(
    ("argument", "value"),
    [("config", {"egress": {}}), ("config", "netmon.yaml"), ("ring_size", "4M"), ("batch_delay", "1s")],
)
def test_arguments_of_other_types_are_refused(argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{argument}: {re.escape(repr(value))} is no "):
        Monitor(**{argument: value})


def test_a_monitor_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(Monitor())


@pytest.mark.parametrize("limit", [0, -1, (16 << 10) - 1, (48 << 10) + 1])
def test_impossible_line_limits_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"{limit} is not from 16384 to 49152 bytes"):
        Monitor(line_limit=limit)


@pytest.mark.parametrize("size", [0, -4096, 1, 5000, 3 << 20, 1 << 31])
def test_impossible_ring_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        Monitor(ring_size=size)
