"""Measures the Python half at native speed, without a guest: a Monitor reads records from a real ring buffer.

    python3 build.py bench --native     writes bench/results/native.md and native.json

Run it as root. A socket filter writes the records, as some kernels refuse netmon's own programs. Costs are the CPU time
of one core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from netmon.batch import HEADER
from netmon.limits import DEFAULT_RING_SIZE
from netmon.monitor import Monitor
from netmon.reader.reader import BATCH_LIMIT
from tests.support.record_mixes import MIXES, Mix
from tests.support.records import records_of
from tests.support.ring_filler import Filler, object_file, watching

RESULTS = Path(__file__).parent / "results"

CORES = sorted(os.sched_getaffinity(0))
TICK = 0.001  # seconds between two sends of a producer
TRIAL = 2.0  # seconds for which a producer keeps a rate
MIN_RATE = 1000.0  # events a second: below it no rate is tried
STEP = 1.05  # the factor from one rate to the next


class Cost(NamedTuple):
    """CPU microseconds an event: the median of some rounds, and the least."""

    median: float
    least: float


class Rate(NamedTuple):
    """The highest rate without loss."""

    events: int  # a second
    is_bound: bool  # the producer could not send faster, so the rate is a lower bound


# The forms in which events are read. Each function reads until no record has come for timeout seconds, and returns how
# many it has read.


def read_bytes(monitor: Monitor, timeout: float) -> int:
    """Read the records without decoding them."""
    reader = monitor._running()
    ring = reader.source.ring
    count = 0
    while ring.waiting or (timeout and reader.wait((), time.monotonic() + timeout)):
        more = True
        while more:
            more = ring.fill(BATCH_LIMIT)
            for _record in records_of(ring.batch):
                count += 1
    return count


def read_raw(monitor: Monitor, timeout: float) -> int:
    """Read RawEvents, the cheapest form that the library offers."""
    count = 0
    for events in monitor.raw_events(timeout):
        count += len(events)
    return count


def read_models(monitor: Monitor, timeout: float) -> int:
    """Read pydantic models, as most users of the library do."""
    count = 0
    for _event in monitor.connection_events(timeout):
        count += 1
    return count


def read_json(monitor: Monitor, timeout: float) -> int:
    """Read lines of JSON and write them to /dev/null, as the command would."""
    count = 0
    with open(os.devnull, "wb") as output:
        for lines in monitor.json_lines(timeout):
            output.write("".join(lines).encode())
            output.flush()
            count += len(lines)
    return count


READERS: dict[str, Callable[[Monitor, float], int]] = {
    "bytes": read_bytes,
    "raw": read_raw,
    "pydantic": read_models,
    "JSON": read_json,
}


def measure_cost(mix_name: str, reader: str, rounds: int) -> Cost:
    """Return the cost of an event. Each round reads a ring buffer that is nearly full."""
    os.sched_setaffinity(0, CORES[:1])
    mix = MIXES[mix_name]
    records = int(DEFAULT_RING_SIZE * 0.9 / average_room(mix)) - len(mix.first)
    spent = []
    with watching(mix) as (monitor, filler):
        # The first round does not count: it warms up, and it reads the processes that later events refer to.
        for _ in range(1 + rounds):
            before = filler.events
            filler.send(records)
            begin = time.process_time_ns()
            seen = READERS[reader](monitor, 0)
            nanoseconds = time.process_time_ns() - begin
            events = filler.events - before
            if filler.lost or seen < events:
                raise RuntimeError(f"{mix_name}, {reader}: {seen} of {events} events seen, {filler.lost} lost")
            spent.append(nanoseconds / 1000 / events)
    return Cost(statistics.median(spent[1:]), min(spent[1:]))


def average_room(mix: Mix) -> float:
    """Return the bytes that a record takes in the ring buffer."""
    return statistics.mean(HEADER.size + -(-len(record) // 8) * 8 for _, record in mix.again)


def measure_rate(mix_name: str, reader: str, first: float) -> Rate:
    """Return the highest rate without loss.

    It is searched upwards from the first rate, or from a lower one if events are lost at that.
    """
    rate, best = first, 0
    while True:
        events, lost = try_rate(MIXES[mix_name], READERS[reader], rate)
        if lost and not best and rate > MIN_RATE:
            rate *= 0.7
            continue
        if lost:
            return Rate(best, is_bound=False)
        best = int(max(best, events / TRIAL))
        if events < 0.95 * rate * TRIAL:
            return Rate(best, is_bound=True)
        rate *= STEP


def try_rate(mix: Mix, read: Callable[[Monitor, float], int], rate: float) -> tuple[int, int]:
    """Read what another process on another core sends at a rate. Return how many events it sent, and the losses."""
    with watching(mix) as (monitor, filler):
        producer = os.fork()
        if not producer:
            try:
                os.sched_setaffinity(0, CORES[-1:])
                produce(filler, rate)
            finally:
                os._exit(0)
        os.sched_setaffinity(0, CORES[:1])
        while os.waitpid(producer, os.WNOHANG) == (0, 0):
            read(monitor, TICK)
        read(monitor, 0)
        return filler.events, filler.lost


def produce(filler: Filler, rate: float) -> None:
    """Send records at a rate for TRIAL seconds."""
    begin = now = time.perf_counter()
    sent = 0
    while now < begin + TRIAL:
        due = int((now - begin) * rate) - sent
        if due:
            filler.send(due)
            sent += due
        time.sleep(TICK)
        now = time.perf_counter()


def host() -> str:
    """Return a description of the machine and its software."""
    models = [line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return (
        f"{models[0] if models else platform.machine()}, {len(CORES)} cores; Linux {platform.release()}; "
        f"Python {platform.python_version()}, pydantic {version('pydantic')}"
    )


def report(costs: dict[str, dict[str, Cost]], rates: dict[str, Rate], rate_mix: str) -> str:
    """Return the results as Markdown."""
    lines = [
        "# The Python half at native speed",
        "",
        f"{host()}. By `python3 build.py bench --native`.",
        "",
        "CPU microseconds an event on one core: median of the rounds (least).",
        "",
        f"| mix | {' | '.join(READERS)} |",
        f"|---|{'---|' * len(READERS)}",
    ]
    for mix_name, row in costs.items():
        cells = [f"{cost.median:.2f} ({cost.least:.2f})" for cost in row.values()]
        lines.append(f"| {mix_name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"The most events a second without loss, in {TRIAL:g} s, by one core while another one sends "
        f"(ring buffer of {DEFAULT_RING_SIZE >> 20} MiB, mix: {rate_mix}).",
        "",
        "| form | events a second |",
        "|---|---|",
    ]
    lines += [f"| {name} | {'at least ' * rate.is_bound}{rate.events:,} |" for name, rate in rates.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure each figure in a process of its own, because a heap that was used before changes the figures."""
    parser = argparse.ArgumentParser(
        prog="build.py bench --native", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mix", default="", help="measure only mixes whose name contains this; write no results")
    options = parser.parse_args(arguments)
    object_file()  # compile it once, before the other processes need it
    chosen = [name for name in MIXES if options.mix in name]
    costs: dict[str, dict[str, Cost]] = {name: {} for name in chosen}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in chosen:
            for reader in READERS:
                cost = costs[name][reader] = pool.apply(measure_cost, (name, reader, options.rounds))
                print(f"{name}: {reader}: {cost.median:.2f} us ({cost.least:.2f})", flush=True)
        if options.mix:
            return
        rate_mix = "1,000 processes, IPv4 and IPv6"
        rates = {
            reader: pool.apply(measure_rate, (rate_mix, reader, 0.7e6 / costs[rate_mix][reader].median))
            for reader in READERS
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "native.md").write_text(report(costs, rates, rate_mix))
    results = {
        "host": host(),
        "microseconds_per_event": {name: {way: c._asdict() for way, c in row.items()} for name, row in costs.items()},
        "most_events_per_second": {"mix": rate_mix, **{way: rate._asdict() for way, rate in rates.items()}},
    }
    (RESULTS / "native.json").write_text(json.dumps(results, indent=2) + "\n")
    print(report(costs, rates, rate_mix))
