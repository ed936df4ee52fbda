"""Writes the results as tables, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.byte_counts import TRUTH
from bench.figures import Figures, ratio
from bench.loads import IDLE, LOADS, Load
from bench.monitors import ALL_OPTIONS, BASE_LINE, EVERYTHING, MONITORS, REFERENCE
from bench.plan import STALL

Row = Sequence[str]
MISSING = ""


def comparison(result: dict[str, Any]) -> str:
    """Return the report of a comparison."""
    plan = result["plan"]
    figures = Figures(result["samples"])
    sections = [
        f"# netmon and its peers on Linux {result['kernel']}",
        _circumstances(result),
        *(_load_section(figures, plan, load) for load in LOADS.values() if plan["monitors"]),
        *([_resources_section(figures, plan)] if plan["monitors"] else []),
        *([_cidrs_section(figures)] if plan["cidrs"] else []),
    ]
    return "\n\n".join(sections) + "\n"


def _circumstances(result: dict[str, Any]) -> str:
    plan = result["plan"]
    return (
        f"Linux {result['release']} in a guest with {result['cpus']} emulated CPUs, {result['date']}, netmon at "
        f"`{result['commit']}`. One boot; medians of {plan['rounds']} rounds (bcc: one); everything is on loopback, so "
        "that 4 events happen of each connection: its establish, its accept and two closes. "
        f"x: as a multiple of {REFERENCE} (libbpf-tools, C). Probes are counted in runs of their own, since "
        "counting slows them down. Rates compare within one table only."
    )


def _load_section(figures: Figures, plan: dict[str, Any], load: Load) -> str:
    connections = plan["processes"] if load.program == "process_load" else plan["connections"]
    header = (
        *("monitor", "connections/s", "slow-down", "events of 4", "its CPU us", "x"),
        *("its probes us", "x", "probe runs"),
    )

    def row(name: str) -> Row:
        def get(figure: str, of: str = name) -> float | None:
            return figures.median(of, load.name, figure)

        watches = name != BASE_LINE
        return (
            name,
            number(get("rate"), 0),
            number(ratio(get("rate", BASE_LINE), get("rate")), 2),
            *(_events(name, get("events")), number(get("cpu_us") if watches else None, 1)),
            number(ratio(get("cpu_us"), get("cpu_us", REFERENCE)) if watches else None, 2),
            number(get("probe_us") if watches else None, 1),
            number(ratio(get("probe_us"), get("probe_us", REFERENCE)) if watches else None, 2),
            number(get("probe_runs") if watches else None, 1),
        )

    title = f"## Load: {load.title}, {connections:,} connections\n\nThe columns in us are of one connection.\n\n"
    return title + table(header, map_rows(row, plan["monitors"]))


def _events(name: str, seen: float | None) -> str:
    most = MONITORS[name].reports
    if not most:
        return MISSING
    return number(seen, 2) + (f" (reports {most})" if most < 4 else "")


def _resources_section(figures: Figures, plan: dict[str, Any]) -> str:
    header = (
        *("monitor", "first event after s", "x", "says ready after s", "PSS MB", "x"),
        *(f"PSS MB, {plan['idle']:,} open", "peak RSS MB", "probes us of one that stays open", "lost, it says"),
    )

    def row(name: str) -> Row:
        def get(load: str, figure: str, of: str = name) -> float | None:
            return figures.median(of, load, figure)

        return (
            name,
            number(get("start", "ready_s"), 2),
            number(ratio(get("start", "ready_s"), get("start", "ready_s", REFERENCE)), 2),
            number(get("start", "said_ready_s"), 2),
            number(get("end", "pss"), 1),
            number(ratio(get("end", "pss"), get("end", "pss", REFERENCE)), 1),
            number(get(IDLE, "pss"), 1),
            number(get("end", "peak"), 1),
            number(get(IDLE, "probe_us"), 1),
            number(get("end", "lost"), 0),
        )

    rows = map_rows(row, [name for name in plan["monitors"] if name != BASE_LINE])
    return f"## Start, memory, {plan['idle']:,} connections that stay open for a while\n\n" + table(header, rows)


def _cidrs_section(figures: Figures) -> str:
    header = ("CIDRs", "ready after s", "connections/s", "its CPU us", "its probes us", "x", "PSS MB", "peak RSS MB")
    loads = figures.loads("cidrs:")

    def row(load: str) -> Row:
        def get(figure: str, of: str = load) -> float | None:
            return figures.median("netmon", of, figure)

        return (
            f"{int(load.partition(':')[2]):,}",
            number(get("said_ready_s"), 2),
            number(get("rate"), 0),
            number(get("cpu_us"), 1),
            number(get("probe_us"), 2),
            number(ratio(get("probe_us"), get("probe_us", loads[0])), 2),
            number(get("pss"), 1),
            number(get("peak"), 1),
        )

    text = (
        "## netmon with a filter of many CIDRs\n\n"
        "Outgoing connections only (2 events of each), to an address in one of the CIDRs of "
        "`egress.ipv4_filter.dst_ip`; the others are from all over the address space. x: as a multiple of the first "
        "row.\n\n"
    )
    return text + table(header, map_rows(row, loads))


def instructions(result: dict[str, Any]) -> str:
    """Return the report of a run that counted instructions."""
    figures = Figures(result["samples"])
    header = ("monitor", "its CPU us", "x", "its probes ns", "x", "probe runs", "PSS MB")

    def row(name: str) -> Row:
        def get(figure: str, of: str = name) -> float | None:
            return figures.median(of, "pairs1", figure)

        probes = get("probe_us")
        return (
            name,
            number(get("cpu_us"), 1),
            number(ratio(get("cpu_us"), get("cpu_us", REFERENCE)), 2),
            number(probes * 1000 if probes is not None else None, 0),
            number(ratio(probes, get("probe_us", REFERENCE)), 2),
            number(get("probe_runs"), 1),
            number(get("pss"), 1),
        )

    connections = result["plan"]["connections"]
    return (
        f"# What a connection costs, in instructions, on Linux {result['kernel']}\n\n"
        f"Linux {result['release']} in a guest with one emulated CPU, {result['date']}, netmon at "
        f"`{result['commit']}`. The guest's clock moves a nanosecond with each instruction, so a figure in ns is a"
        " number of instructions, and one in us of a thousand; nothing disturbs it. It says nothing of caches and of"
        f" the width of a real processor. Of {connections:,} connections over loopback: an establish, an accept and two"
        " closes each. "
        f"x: as a multiple of {REFERENCE} (libbpf-tools, C).\n\n"
        f"{table(header, map_rows(row, result['plan']['monitors']))}\n"
    )


def rules(result: dict[str, Any]) -> str:
    """Return the report of a run that counted instructions of netmon with rules."""
    figures = Figures(result["samples"])

    def row(name: str) -> Row:
        def get(figure: str) -> float | None:
            return figures.median(name, "pairs1", figure)

        probes = get("probe_us")
        return (
            name,
            number(probes * 1000 if probes is not None else None, 0),
            number(get("cpu_us"), 1),
            number(get("said_ready_s"), 2),
            number(get("pss"), 1),
        )

    names = [*dict.fromkeys(sample["monitor"] for sample in result["samples"])]
    header = ("netmon", "its probes, instructions", "its CPU us", "ready after s", "PSS MB")
    return (
        f"# Rules in the kernel, in instructions, on Linux {result['kernel']}\n\n"
        f"Linux {result['release']} in a guest with one emulated CPU, {result['date']}, netmon at `{result['commit']}`."
        f" Of {result['plan']['connections']:,} connections over loopback, each with an opening at both ends and two"
        " closes. netmon reports all of them, netmon-reject none, by a filter of addresses; the rules want none of"
        " them.\n\n"
        f"{table(header, map_rows(row, names))}\n"
    )


def byte_counts(result: dict[str, Any]) -> str:
    """Return the report of a run that compared byte counts."""
    figures = Figures(result["samples"])
    names = result["plan"]["monitors"]
    header = ("scenario", "ends", "bytes sent", "bytes received", *names)

    def row(scenario: str) -> Row:
        truth = [number(figures.median(TRUTH, scenario, figure), 0) for figure in ("ends", "sent", "received")]
        return (scenario, *truth, *(verdict(figures, name, scenario)[1] for name in names))

    return (
        f"# Bytes that monitors count, beside the kernel's own count, on Linux {result['kernel']}\n\n"
        f"Linux {result['release']} in a guest with {result['cpus']} emulated CPUs, {result['date']}, netmon at "
        f"`{result['commit']}`. All monitors watched the same connections at once. The kernel's count is TCP_INFO of"
        " each end before its close. exact: all ends, and all bytes both ways, as far as the monitor's own rounding"
        " tells.\n\n"
        f"{table(header, map_rows(row, figures.loads('')))}\n"
    )


def verdict(figures: Figures, name: str, scenario: str) -> tuple[str, str]:
    """Return what a monitor's count of a scenario is: `exact`, `wrong` or `nothing`; and in words."""

    def get(figure: str, of: str = name) -> float:
        return figures.median(of, scenario, figure) or 0

    if not get("ends"):
        return "nothing", "nothing"
    if get("ends") != get("ends", TRUTH):
        return "wrong", f"{get('ends'):.0f} of {get('ends', TRUTH):.0f} ends"
    wrong = [
        f"{get(figure) - get(figure, TRUTH):+,.0f} {figure}"
        for figure in ("sent", "received")
        if abs(get(figure) - get(figure, TRUTH)) > get("off")
    ]
    return ("wrong", ", ".join(wrong)) if wrong else ("exact", "exact")


def long_run(result: dict[str, Any]) -> str:
    """Return the report of a long run."""
    figures = Figures(result["samples"])
    plan = result["plan"]
    monitor = ALL_OPTIONS.name

    def part(index: int) -> Row:
        def get(figure: str, digits: int) -> str:
            return number(figures.values(monitor, "day", figure)[index], digits)

        memory = (get("pss", 1), get("maps_mb", 1), get("maps", 0), get("descriptors", 0))
        return (f"{index + 1}", get("rate", 0), get("started", 0), *memory)

    def account(name: str, load: str, what: str) -> Row:
        counts = ("happened", "written", "lost", "missed", "said_lost", "rate", "pss")
        return (what, *(number(figures.median(name, load, count), 0) for count in counts))

    parts = len(figures.values(monitor, "day", "pss"))
    day = f"{plan['connections']:,} connections, {plan['processes']:,} processes, {parts} reloads, a reader that stalls"
    flood = f"{plan['flood']:,} connections at full speed"
    accounts = [
        account("netmon", "flood", f"{flood}, default settings"),
        account(monitor, "flood", f"{flood}, everything on"),
        account(monitor, "account", f"{day}; everything on"),
    ]
    account_header = (
        *("run", "events that happened", "written", "lost, by LostEvents", "missed at most"),
        *("lost, by the summary", "connections/s", "PSS MB"),
    )
    part_header = ("part", "connections/s", "processes/s", "PSS MB", "MB of maps", "maps", "file descriptors")
    return (
        f"# netmon running for long on Linux {result['kernel']}\n\n"
        f"Linux {result['release']} in a guest with {result['cpus']} emulated CPUs, {result['date']}, netmon at "
        f"`{result['commit']}`. Everything on: `{' '.join(EVERYTHING)}`. What is written and what is lost add up to "
        f"what happened.\n\n{table(account_header, accounts)}\n\n"
        f"The last run is a busy host's day in little. In each of its {parts} parts all connections are made, then all "
        f"processes, which make one each; then the configuration is reloaded. Its reader takes nothing for {STALL} s "
        f"once a part.\n\n{table(part_header, [part(index) for index in range(parts)])}\n"
    )


def map_rows(row: Callable[[str], Row], names: Sequence[str]) -> list[Row]:
    return [row(name) for name in names]


def number(value: float | None, digits: int) -> str:
    """Return a figure as text; empty if there is none."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def table(header: Row, rows: Sequence[Row]) -> str:
    """Return a Markdown table, whose first column is text and whose others are numbers."""
    lines = [header, ("---", *("---:",) * (len(header) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
