"""Runs netmon for long: does its memory grow, and does it lose events at full speed?"""

from __future__ import annotations

import re
import subprocess

from bench.loads import LOADS, Load
from bench.monitors import MONITORS
from bench.plan import Plan
from bench.running import Running
from bench.samples import Samples

CHUNKS = 20
SUMMARY = re.compile(rb"(\d+) events, (\d+) lost(?:.*at most (\d+) missed)?")
EVENTS = 4  # of each connection


def run_long(plan: Plan, samples: Samples) -> None:
    """Flood one netmon; run many connections, and many processes, under another."""
    flood = LOADS["pairs2"]
    samples.say(f"{plan.flood:,} connections at full speed")
    with subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        with Running(MONITORS["netmon"], stdout=reader.stdin) as running:
            running.wait_until_ready()
            rate = flood.run(plan.flood)
            running.settle()
            memory = running.memory
        samples.send(0, "netmon", "flood", rate=rate, **vars(memory), **_account(running, reader, plan.flood))
    with subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        with Running(MONITORS["netmon"], stdout=reader.stdin) as running:
            running.wait_until_ready()
            done = 0
            for load in (LOADS["pairs1"], LOADS["short"]):
                done += _run_in_chunks(running, load, load.connections(plan), samples)
        samples.send(0, "netmon", "long", **_account(running, reader, done))


def _run_in_chunks(running: Running, load: Load, connections: int, samples: Samples) -> int:
    chunk = connections // CHUNKS
    for number in range(CHUNKS):
        rate = load.run(chunk)
        running.settle()
        made = (number + 1) * chunk
        memory = running.memory
        samples.say(f"{made:,} connections of {load.title}: {rate:,.0f}/s, PSS {memory.pss:.1f} MB")
        samples.send(number, "netmon", load.name, made=made, rate=rate, **vars(memory))
    return chunk * CHUNKS


def _account(running: Running, reader: subprocess.Popen[bytes], connections: int) -> dict[str, float]:
    """Return the events written, those that netmon counts as lost, and those that happened. Call it after the end."""
    assert reader.stdin is not None and reader.stdout is not None
    reader.stdin.close()
    written = int(reader.stdout.read())
    summary = SUMMARY.search(running.errors)
    events, lost, missed = (int(number or 0) for number in summary.groups()) if summary else (-1, -1, -1)
    return {"written": written, "events": events, "lost": lost, "missed": missed, "happened": EVENTS * connections}
