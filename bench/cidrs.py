"""Measures what long lists of CIDRs cost on this host: to read, check and compile, and to put into the kernel's tries.

    python3 build.py bench --cidrs-native     writes bench/results/cidrs.md and cidrs.json

As root. Each list is loaded in a process of its own, twice: the second time is a reload's. As in `netmon run`, another
process reads it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.native import RESULTS, host
from netmon.cli.config_process import ConfigProcess
from netmon.kernel.bpf import BpfObject, Map, update_map
from netmon.kernel.programs import read_object

COUNTS = (10, 1_000, 100_000, 1_000_000)
FAMILIES = {"IPv4": "ipv4", "IPv6": "ipv6"}
MAPS = ("ipv4_cidrs", "ipv6_cidrs")
# Lengths as in block lists: mostly single hosts.
IPV4_LENGTHS, IPV6_LENGTHS = (32, 32, 32, 24, 20), (128, 128, 64, 48, 32)


class Load(NamedTuple):
    """The CPU seconds of each step, and the MB of the process that reads, of this process, and of the kernel's trie."""

    read: float  # includes checking and compiling
    fill: float
    reader: float
    peak: float
    afterwards: float
    kernel: float


def cidrs(family: str, count: int) -> Iterator[str]:
    """Yield CIDRs from all of the address space, the same ones in each run."""
    chance = random.Random(count)
    for _ in range(count):
        if family == "ipv4":
            length = chance.choice(IPV4_LENGTHS)
            yield f"{IPv4Address(chance.getrandbits(length) << (32 - length))}/{length}"
        else:
            length = chance.choice(IPV6_LENGTHS)
            address = 0b001 << 125 | chance.getrandbits(length - 3) << (128 - length)
            yield f"{IPv6Address(address)}/{length}"


def write_config(path: Path, family: str, count: int) -> None:
    """Write a configuration with a number of CIDRs, one a line."""
    with path.open("w") as file:
        file.write(f"egress:\n  enabled: true\n  {family}_filter:\n    dst_ip:\n")
        file.writelines(f"      - {cidr}\n" for cidr in cidrs(family, count))


def load(path: Path) -> tuple[float, float, float]:
    """Do what a start does, except loading programs. Return the seconds of the steps, and the kernel's MB."""
    begin = children_seconds()
    filters, _ = ConfigProcess(str(path)).result()
    read = children_seconds() - begin
    kernel = fill = 0.0
    with BpfObject(read_object(minimal=True), "netmon") as bpf:
        kinds = {name: bpf.inner_map_kind(name) for name in MAPS}
    for name, kind in kinds.items():
        if keys := getattr(filters, name):
            with closing(Map(kind, name, len(keys) // kind.key_size)) as trie:
                begin = time.process_time()
                update_map(trie.fd, keys, kind.key_size, b"\1")
                fill += time.process_time() - begin
                kernel += kernel_memory(trie)
    filters.release()
    return read, fill, kernel


def children_seconds() -> float:
    """Return the CPU seconds of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def kernel_memory(trie: Map) -> float:
    """Return the MB of a map's entries as the kernel counts them, without its allocator's rounding."""
    fields = (line.split() for line in Path(f"/proc/self/fdinfo/{trie.fd}").read_text().splitlines())
    return next(int(field[1]) / 1e6 for field in fields if field[0] == "memlock:")


def resident() -> float:
    """Return this process's MB in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def measure(path: Path) -> list[Load]:
    """Return the measurements of a first load and of a second one."""
    loads = []
    for _ in range(2):
        read, fill, kernel = load(path)
        reader, peak = (
            resource.getrusage(who).ru_maxrss * 1024 / 1e6 for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
        )
        loads.append(Load(read, fill, reader, peak, resident(), kernel))
    return loads


def report(results: dict[str, dict[int, list[Load]]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Long lists of CIDRs, natively",
        "",
        f"{host()}. By `python3 build.py bench --cidrs-native`.",
        "",
        "CPU seconds to read, check and compile a YAML file (read), and to fill a trie of the kernel's; MB of the "
        "process that reads at most, of netmon's at most (peak) and afterwards, and of the trie's entries. Each in a "
        "process of its own, twice (again).",
        "",
        "| CIDRs | read | fill | sum | reader | peak | afterwards | trie | again: sum | peak | afterwards |",
        f"|---|{'---:|' * 10}",
    ]
    for family, row in results.items():
        for count, (first, again) in row.items():
            cells = [
                *(f"{seconds:.3f}" for seconds in (*first[:2], sum(first[:2]))),
                *(f"{megabytes:.0f}" for megabytes in first[2:]),
                *(f"{sum(again[:2]):.3f}", f"{again.peak:.0f}", f"{again.afterwards:.0f}"),
            ]
            lines.append(f"| {count:,} {family} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure each list, and write the results."""
    parser = argparse.ArgumentParser(
        prog="build.py bench --cidrs-native", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    results: dict[str, dict[int, list[Load]]] = {family: {} for family in FAMILIES}
    with TemporaryDirectory() as directory, multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        path = Path(directory, "netmon.yaml")
        for family, name in FAMILIES.items():
            for count in COUNTS:
                write_config(path, name, count)
                results[family][count] = pool.apply(measure, (path,))
                print(f"{count:,} {family}: {results[family][count][0]}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cidrs.md").write_text(report(results))
    figures = {
        family: {count: [one._asdict() for one in loads] for count, loads in row.items()}
        for family, row in results.items()
    }
    (RESULTS / "cidrs.json").write_text(json.dumps({"host": host(), "loads": figures}, indent=2) + "\n")
    print(report(results))
