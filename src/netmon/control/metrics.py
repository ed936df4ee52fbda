"""Metrics in Prometheus's text format, made of the answer to `status`.

No label has the address of a peer: there would be a series for each. Labels that others name are escaped, and bounded
in number where they are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from netmon.losses import BY_NAME, EVENT_REASONS, Losses

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_LABEL = 200  # characters of a label's value

# What is left out or unsure in events that are there.
INCOMPLETE = tuple(name for name in Losses._fields if name not in (*EVENT_REASONS, "missed", "blind_ms", *BY_NAME))
Labels = Mapping[str, str]


class Family(NamedTuple):
    """A metric with all of its samples: for each the end of its name, its labels, and its value."""

    name: str
    type: str
    help: str
    samples: Iterable[tuple[str, Labels, float]]


def expose(status: Mapping[str, Any]) -> str:
    """Return the metrics of a run. status: the answer to `status`. Raises KeyError if it is of another version."""
    return "".join(line for family in families(status) for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    samples = list(family.samples)
    if not samples:
        return
    name = f"netmon_{family.name}"
    yield f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"
    for suffix, labels, value in samples:
        text = ",".join(f'{key}="{escaped(label)}"' for key, label in labels.items())
        yield f"{name}{suffix}{{{text}}} {number(value)}\n" if text else f"{name}{suffix} {number(value)}\n"


def escaped(text: str) -> str:
    """Return the value of a label as the format has it: bounded, and without line ends."""
    return text[:MAX_LABEL].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """Return a number as the format has it."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _one(name: str, type_: str, help_: str, value: float, labels: Labels | None = None) -> Family:
    return Family(name, type_, help_, [("", labels or {}, value)])


def _by(name: str, type_: str, help_: str, label: str, counts: Mapping[str, float]) -> Family:
    return Family(name, type_, help_, [("", {label: key}, count) for key, count in counts.items()])


def families(status: Mapping[str, Any]) -> Iterator[Family]:
    """Yield the metrics of a run."""
    yield _one("build_info", "gauge", "The version that runs.", 1, {"version": status["version"]})
    yield _one("uptime_seconds", "gauge", "How long it has run.", status["uptime_s"])
    yield _one("ready", "gauge", "Whether it reads events, and the kernel runs its programs.", status["ready"])
    yield _one("silent_seconds", "gauge", "How long ago the last batch of events was delivered.", status["silent_s"])
    yield from _configuration(status["configuration"])
    yield from _losses(status)
    yield from _outputs(status["outputs"])
    ring, processes = status["ring"], status["processes"]
    yield _one("ring_size_bytes", "gauge", "Size of the buffer between kernel and reader.", ring["size"])
    yield _one("ring_waiting_bytes", "gauge", "What waits there to be read.", ring["waiting"])
    yield _one("ring_read_bytes_total", "counter", "What was read there.", ring["read"])
    yield _one("processes_known", "gauge", "Processes that are remembered.", processes["known"])
    yield _one("processes_described_total", "counter", "Descriptions of processes read.", processes["described"])
    yield from _programs(status)
    yield _by(
        "rule_matches_total",
        "counter",
        "Connections that a rule has matched since it was put in force.",
        "rule",
        status["rules"],
    )
    resources = status["resources"]
    yield _one("cpu_seconds_total", "counter", "CPU time of netmon.", resources["cpu_s"])
    if (resident := resources.get("resident_bytes")) is not None:
        yield _one("resident_memory_bytes", "gauge", "Memory of netmon.", resident)
    if (counted := status["counted"]) is not None:
        yield from _counted(counted)


def _configuration(configuration: Mapping[str, Any]) -> Iterator[Family]:
    last = configuration["last_reload"]
    failed = last is not None and last["error"] is not None
    yield _one("config_generation", "gauge", "Configurations put in force so far.", configuration["generation"])
    yield _one("config_last_reload_successful", "gauge", "Whether the last reload worked.", not failed)
    yield _one("config_failed_reloads_total", "counter", "Reloads that failed.", configuration["failed_reloads"])
    if digest := configuration["sha256"]:
        yield _one("config_info", "gauge", "The configuration in force.", 1, {"sha256": digest})


def _losses(status: Mapping[str, Any]) -> Iterator[Family]:
    losses = status["losses"]
    yield _one("events_total", "counter", "Connection events and aggregates reported.", status["events"])
    yield _by(
        "lost_events_total",
        "counter",
        "Events lost, by reason.",
        "reason",
        {key: losses[key] for key in EVENT_REASONS if key in losses},
    )
    yield _one("missed_events", "gauge", "At most so many events were never seen; may sink.", losses["missed"])
    yield _one("blind_seconds_total", "counter", "The kernel ran no programs.", losses["blind_ms"] / 1000)
    yield _by(
        "incomplete_total",
        "counter",
        "What is missing in events that were reported.",
        "what",
        {key: losses[key] for key in INCOMPLETE if key in losses},
    )


def _outputs(outputs: Iterable[Mapping[str, Any]]) -> Iterator[Family]:
    named = {output["name"]: output for output in outputs}
    for name, type_, help_, key in (
        (
            "output_events_total",
            "counter",
            "Events handed to an output; those delivered are these without the lost.",
            "lines",
        ),
        ("output_lost_events_total", "counter", "Events that an output alone has lost.", "lost"),
        ("output_waiting_bytes", "gauge", "What waits in the queue of an output.", "waiting"),
        ("output_readers", "gauge", "Readers that are connected.", "readers"),
    ):
        counts = {output: fields[key] for output, fields in named.items() if fields[key] is not None}
        yield _by(name, type_, help_, "output", counts)
    closed = {output: bool(fields["problem"]) for output, fields in named.items()}
    yield _by("output_closed", "gauge", "Whether an output broke and was closed.", "output", closed)


def _programs(status: Mapping[str, Any]) -> Iterator[Family]:
    enabled = status["program_statistics"]
    programs = {program["name"]: program for program in status["programs"]}
    yield _one("programs_attached", "gauge", "BPF programs that are attached.", len(programs))
    yield _one("program_statistics", "gauge", "Whether kernel.bpf_stats_enabled is 1: it counts runs.", enabled)
    if enabled:
        seconds = {name: program["run_time_ns"] / 1e9 for name, program in programs.items()}
        runs = {name: program["runs"] for name, program in programs.items()}
        yield _by("program_run_seconds_total", "counter", "Time in BPF programs.", "program", seconds)
        yield _by("program_runs_total", "counter", "Runs of BPF programs.", "program", runs)


def _counted(counted: Mapping[str, Any]) -> Iterator[Family]:
    """Yield what is counted of the events: with --metrics alone."""
    opened = [
        ("", {"direction": one["direction"], "result": one["result"]}, one["count"]) for one in counted["connections"]
    ]
    yield Family("connections_total", "counter", "Connections, by who opened them, and what is known to come.", opened)
    yield _by("connection_failures_total", "counter", "Attempts that failed.", "reason", counted["failures"])
    yield _one("connections_closed_total", "counter", "Connections that were closed.", counted["closed"])
    yield _by("connection_endings_total", "counter", "What ended connections.", "closed_by", counted["endings"])
    yield _one("bytes_sent_total", "counter", "Payload of closed connections.", counted["bytes_sent"])
    yield _one("bytes_received_total", "counter", "Payload of closed connections.", counted["bytes_received"])
    yield _histogram("handshake_seconds", "From the first SYN to the connection.", counted["handshakes"])
    yield _histogram("connection_duration_seconds", "From opening to close.", counted["durations"])
    yield _by(
        "binary_connections_total",
        "counter",
        "Connections opened by the busiest executables.",
        "binary",
        counted["binaries"],
    )
    yield _one(
        "other_binaries_connections_total",
        "counter",
        "Connections opened by others than those.",
        counted["other_binaries"],
    )


def _histogram(name: str, help_: str, histogram: Mapping[str, Any]) -> Family:
    counts = list(accumulate(histogram["counts"]))
    bounds = [*map(number, histogram["bounds"]), "+Inf"]
    samples = [("_bucket", {"le": bound}, count) for bound, count in zip(bounds, counts, strict=True)]
    return Family(
        name,
        "histogram",
        help_,
        [*samples, ("_sum", {}, histogram["sum"]), ("_count", {}, counts[-1])] if counts else (),
    )
