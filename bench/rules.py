"""Measures what rules cost on this host: for an event, by their number; and to load, by the length of their lists.

    python3 build.py bench --rules-native     writes bench/results/rules.md and rules.json

Events are pairs of an opening and a close, decoded from memory and written as lines of JSON. Costs are the CPU time of
one core.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.cidrs import cidrs, kernel_memory
from bench.native import RESULTS, host
from netmon.cli.config_process import ConfigProcess
from netmon.config import Config
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import CompiledFilters
from netmon.kernel.bpf import Map, update_values
from netmon.layout import Direction
from netmon.rules.apply import RuledEvents
from tests.support.decoders import make_decoder
from tests.support.records import batch_of, detailed_event, ipv4_event, process_record
from tests.support.rule_match import Opening, kernel_rules

COUNTS = (0, 1, 20, 200)
LENGTHS = (10, 1_000, 100_000, 1_000_000)
PROCESSES = 50
PAIRS = 20_000  # of an opening and a close in a round
RUNS = 200_000
# What the longest lists do not have: reserved for documents.
UNWANTED = Opening(Direction.EGRESS, "192.0.2.1", "192.0.2.2", 40000, 443, 1, (0, 0, 0, 0, 0), b"/usr/bin/curl")
PEERS = {"alike": 200, "new": PAIRS}  # how many different peers there are


class Cost(NamedTuple):
    """CPU microseconds an event, by how many peers there are."""

    alike: float
    new: float


class Load(NamedTuple):
    """What a rule with a long list takes.

    Attributes:
        read: CPU seconds of the process that reads it.
        prepare: CPU seconds of netmon, to make functions of the rules.
        fill: CPU seconds of netmon, to fill the kernel's trie.
        size: The bytes that are handed over.
        kernel: The MB of the trie's entries.
        reject: Nanoseconds in which the kernel half finds that no rule wants a connection.
        compare: Microseconds in which user space judges an event.
    """

    read: float
    prepare: float
    fill: float
    size: int
    kernel: float
    reject: int
    compare: float


def rules_of(count: int) -> list[dict[str, Any]]:
    """Return rules as a site may have them, of three comparisons each: about ports, networks, programs and bytes."""
    conditions = (
        'port_dst == {port} AND NOT ip_dst in ["10.{n}.0.0/16", "fd00:{n}::/32"] AND uid >= 1',
        'binary_name in ["curl{n}", "wget"] AND ip_dst == "192.{n}.0.0/16" AND NOT port_dst == 443',
        'binary_prefix == "/opt/{n}/" OR (direction == "ingress" AND port_src in [{port}, 8000-8099])',
        'bytes > {port}M AND binary_name == "curl{n}" AND NOT ip_dst == "10.0.0.0/8"',
    )
    return [
        {"rule": f"rule {n}", "when": conditions[n % len(conditions)].format(n=n, port=1000 + n)} for n in range(count)
    ]


def records(peers: int) -> Iterator[bytes]:
    for number in range(PROCESSES):
        yield process_record(process_id=number + 1, pid=number + 1, path=b"/usr/bin/curl")
    for pair in range(PAIRS):
        ends = {
            "process_id": pair % PROCESSES + 1,
            "cookie": pair + 1,
            "sport": 32768 + pair % 28000,
            "dport": 443,
        }
        daddr = (0xC0000000 + pair % peers).to_bytes(4, "big")
        yield ipv4_event(**ends, daddr=daddr)
        yield detailed_event(**ends, daddr=daddr + bytes(12))


def measure_cost(count: int, peers: int, rounds: int) -> float:
    """Return the CPU microseconds of an event with so many rules."""
    both = {"ingress": {"enabled": True}, "egress": {"enabled": True}, "report": {"statistics": True}}
    config = {**both, **({"rules": rules_of(count), "unmatched": "report"} if count else {})}
    filters = compile_filters(Config.from_dict(config))
    data = [*records(peers)]
    spent = []
    for _ in range(1 + rounds):  # the first one warms up
        decoder = make_decoder()
        if filters.rules:
            decoder.ruled = RuledEvents(filters.rules, filters.watched)
        batch = batch_of(data)
        begin = time.process_time_ns()
        lines = sum(map(len, decoder.json_lines(batch)))
        spent.append((time.process_time_ns() - begin) / 1000 / lines)
    return statistics.median(spent[1:])


def measure_load(length: int) -> Load:
    """Return what a list of so many networks takes."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "netmon.yaml"
        with path.open("w") as file:
            file.write("egress: {enabled: true}\nrules:\n- rule: listed\n  when: ip_dst in networks\n")
            file.write("lists:\n- list: networks\n  items:\n")
            file.writelines(f"  - {cidr}\n" for cidr in cidrs("ipv4", length))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        filters, _ = ConfigProcess(str(path)).result()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        read = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        begin = time.process_time()
        ruled = RuledEvents(filters.rules, filters.watched)
        prepare = time.process_time() - begin
        fill, kernel, reject = measure_kernel(filters)
    batch = batch_of(records(PAIRS))
    (*events,) = (event for chunk in make_decoder().raw_events(batch) for event in chunk)
    begin_ns = time.process_time_ns()
    for event in events:
        ruled._judge(event)
    compare = (time.process_time_ns() - begin_ns) / 1000 / len(events)
    handed_over = sum(len(part) for part in (filters.rules, filters.rule_numbers, filters.rule_numbers_met))
    filters.release()
    return Load(read, prepare, fill, handed_over, kernel, reject, compare)


def measure_kernel(filters: CompiledFilters) -> tuple[float, float, int]:
    """Return the CPU seconds to fill the trie of addresses, its MB, and the nanoseconds to reject a connection."""
    with kernel_rules() as rules:
        kind = rules.maps.kind("rule_numbers")
        with closing(Map(kind, "rule_numbers", len(filters.rule_numbers) // kind.key_size)) as trie:
            begin = time.process_time()
            update_values(trie.fd, filters.rule_numbers, filters.rule_numbers_met, kind)
            fill = time.process_time() - begin
            memory = kernel_memory(trie)
        rules.reload(filters)
        assert not rules.wants(UNWANTED)
        return fill, memory, rules.measure(UNWANTED, RUNS)


def report(costs: dict[int, Cost], loads: dict[int, Load]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Rules, natively",
        "",
        f"{host()}. By `python3 build.py bench --rules-native`.",
        "",
        "CPU microseconds to decode an event, judge it and make its line of JSON; openings and closes in turn.",
        "",
        "| rules | connections that look alike (200 peers) | each with a new peer |",
        "|---:|---:|---:|",
        *(f"| {count} | {cost.alike:.1f} | {cost.new:.1f} |" for count, cost in costs.items()),
        "",
        "A rule with a list of IPv4 networks: CPU seconds of the process that reads it, and of "
        "netmon, to make functions of it and to fill the kernel's trie; MB that are handed over, and of the trie's "
        "entries; nanoseconds in which the kernel rejects a connection to none of the networks, and microseconds in "
        "which user space judges an event.",
        "",
        "| networks | reading, s | preparing, s | filling, s | MB | trie, MB | to reject, ns | to judge, us |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {length:,} | {load.read:.2f} | {load.prepare:.3f} | {load.fill:.3f} "
            f"| {load.size / 1e6:.1f} | {load.kernel:.1f} | {load.reject} | {load.compare:.1f} |"
            for length, load in loads.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        prog="build.py bench --rules-native", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    costs = {count: Cost(*(measure_cost(count, peers, options.rounds) for peers in PEERS.values())) for count in COUNTS}
    loads = {length: measure_load(length) for length in LENGTHS}
    text = report(costs, loads)
    print(text)
    (RESULTS / "rules.md").write_text(text)
    results = {"host": host(), "costs": {n: one._asdict() for n, one in costs.items()}}
    results["loads"] = {n: one._asdict() for n, one in loads.items()}
    (RESULTS / "rules.json").write_text(json.dumps(results, indent=2) + "\n")
