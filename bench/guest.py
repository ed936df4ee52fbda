"""The guest's half: runs each load under each monitor, and sends the host the measurements."""

from __future__ import annotations

import compileall
from pathlib import Path

from bench import byte_counts, proc
from bench.loads import IDLE, LOADS, Load, open_connections
from bench.longrun import run_long
from bench.monitors import COUNTED, MONITORS, NETMON, Monitor
from bench.plan import Plan, cidrs
from bench.rule_sets import files
from bench.running import START_DEADLINE, Running, wait_until
from bench.samples import Samples
from bench.start import seconds_to_ready
from vm.guest.channel import Channel, serve

WARM_UP = "warmup"
WARM_UP_CONNECTIONS = 100  # their events fill the monitor's output buffer
RULE_FILE = Path("/tmp/rules.yaml")
CIDR_FILE = Path("/tmp/cidrs.yaml")


def run(channel: Channel) -> int:
    """Run the host's plan."""
    plan = Plan.from_json(Path("plan.json").read_text())
    samples = Samples(channel)
    # Compile netmon's modules, as an installation does.
    compileall.compile_dir("src", quiet=1)
    if plan.flood:
        run_long(plan, samples)
        return 0
    if plan.byte_counts:
        byte_counts.measure(samples)
        return 0
    if plan.counted:
        for name in plan.monitors:
            samples.say(name)
            samples.send(0, name, LOADS["pairs1"].name, **count_instructions(samples, COUNTED[name], plan.connections))
        for name, text in files(plan):
            samples.say(name)
            RULE_FILE.write_text(text)
            monitor = Monitor(name, (*NETMON, "--config", str(RULE_FILE)), MONITORS["netmon"].mark, silent=True)
            samples.send(0, name, LOADS["pairs1"].name, **count_instructions(samples, monitor, plan.connections))
        return 0
    for round_, names in enumerate(plan.orders()):
        for name in names:
            if round_ == 0 or not MONITORS[name].compiles:
                samples.say(f"round {round_ + 1} of {plan.rounds}: {name}")
                Session(plan, samples, round_, MONITORS[name]).measure()
    for count in plan.cidrs:
        samples.say(f"a filter of {count:,} CIDRs")
        measure_cidrs(plan, samples, count)
    return 0


class Session:
    """A monitor's part of a round."""

    def __init__(self, plan: Plan, samples: Samples, round_: int, monitor: Monitor) -> None:
        self._plan = plan
        self._samples = samples
        self._round = round_
        self._monitor = monitor

    def _send(self, load: str, **figures: float) -> None:
        self._samples.send(self._round, self._monitor.name, load, **figures)

    def measure(self) -> None:
        """Start the monitor twice: to measure the start, and to run the loads."""
        if self._monitor.command[0] != "sleep":
            self._send("start", **seconds_to_ready(self._monitor))
        with Running(self._monitor) as running:
            warm_up(running)
            for load in LOADS.values():
                connections = load.connections(self._plan)
                self._send(load.name, **measure_load(running, load, connections))
                self._send(load.name, **count_runs(running, load, connections // 2))
            self._send("end", **vars(running.memory))
            self._send(IDLE, **self._idle(running))
            running.stop()
            for load in LOADS.values():
                events = running.count(load.name) / load.connections(self._plan)
                self._send(load.name, events=events)
            self._send("end", lost=running.lost)

    def _idle(self, running: Running) -> dict[str, float]:
        proc.count_runs(on=True)
        before = proc.total(running.runs)
        with open_connections(self._plan.idle):
            running.settle()
            held = running.memory
        running.settle()
        runs = proc.total(running.runs) - before
        proc.count_runs(on=False)
        return {**per_connection(runs, self._plan.idle), **vars(held)}


def warm_up(running: Running) -> None:
    """Make connections until the monitor has reported one."""
    if running.monitor.is_netmon:
        running.wait_until_ready()

    def shown() -> bool:
        running.check()
        LOADS["pairs1"].run(WARM_UP_CONNECTIONS, WARM_UP)
        return running.monitor.silent or running.count(WARM_UP) > 0

    wait_until(shown, f"the first event of {running.monitor.name}", START_DEADLINE, pause=0.2)
    running.settle()


def measure_load(running: Running, load: Load, connections: int) -> dict[str, float]:
    """Return the rate of connections, and the monitor's processor time until it has read all their events."""
    before = running.cpu_seconds
    rate = load.run(connections)
    running.settle()
    return {"rate": rate, "cpu_us": (running.cpu_seconds - before) / connections * 1e6}


def count_runs(running: Running, load: Load, connections: int) -> dict[str, float]:
    """Return the runs of the monitor's probes. Not measured with the rate, since counting slows probes down."""
    proc.count_runs(on=True)
    before = proc.total(running.runs)
    load.run(connections, f"counted-{load.name}")
    running.settle()
    runs = proc.total(running.runs) - before
    proc.count_runs(on=False)
    return per_connection(runs, connections)


def count_instructions(samples: Samples, monitor: Monitor, connections: int) -> dict[str, float]:
    """Return what a connection costs, in a guest that counts instructions: there they are its nanoseconds.

    The host is told each program's part of it.
    """
    load = LOADS["pairs1"]
    with Running(monitor) as running:
        ready = running.wait_until_ready() if monitor.is_netmon else 0.0
        warm_up(running)
        before = running.cpu_nanoseconds
        load.run(connections)
        running.settle()
        cpu_us = (running.cpu_nanoseconds - before) / connections / 1000
        before_runs = running.runs
        runs = count_runs(running, load, connections)
        for name, now in sorted(running.runs.items()):
            part = now - before_runs.get(name, proc.NONE)
            if part.count:
                samples.say(
                    f"  {name:22} {part.count / connections:5.2f} runs {part.nanoseconds / connections:6.0f} ns"
                )
        return {"said_ready_s": ready, "cpu_us": cpu_us, **runs, **vars(running.memory)}


def per_connection(runs: proc.Runs, connections: int) -> dict[str, float]:
    return {"probe_us": runs.nanoseconds / connections / 1000, "probe_runs": runs.count / connections}


def measure_cidrs(plan: Plan, samples: Samples, count: int) -> None:
    """Run netmon on outgoing connections with a filter of many CIDRs, the loads' addresses among them."""
    with CIDR_FILE.open("w") as file:
        file.write("egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n")
        file.writelines(f"    - {cidr}\n" for cidr in cidrs(count))
    monitor = Monitor("cidrs", (*NETMON, "--config", str(CIDR_FILE)), mark=MONITORS["netmon"].mark)
    load, name = LOADS["pairs1"], f"cidrs:{count}"
    with Running(monitor) as running:
        samples.send(0, "netmon", name, said_ready_s=running.wait_until_ready())
        warm_up(running)
        for round_ in range(plan.rounds):
            samples.send(round_, "netmon", name, **measure_load(running, load, plan.connections))
            samples.send(round_, "netmon", name, **count_runs(running, load, plan.connections // 2))
        samples.send(0, "netmon", name, **vars(running.memory))


if __name__ == "__main__":
    serve(run)
