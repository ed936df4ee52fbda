"""The status of a run in words, made of the answer to `status`. What a newer netmon adds is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netmon.amounts import size_text
from netmon.losses import BY_NAME, describe_losses

SHOWN_DIGEST = 12  # hexadecimal digits


def lines_of(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for people."""
    state = "ready" if status["ready"] else "not ready"
    yield f"netmon {status['version']}, pid {status['pid']}, {state}, up {duration_text(status['uptime_s'])}"
    if not status["live"]:
        yield f"reading has been held up for {duration_text(status['silent_s'])}: is the reader of its output stuck?"
    yield from (f"problem: {problem}" for problem in status["problems"])
    yield from _configuration(status["configuration"])
    reports = status["reports"]
    options = [name if value is True else f"{name} {_plain(value)}" for name, value in reports["options"].items()]
    yield f"reports: {', '.join(reports['directions'])}" + (f"; with {', '.join(options)}" if options else "")
    yield f"events: {status['events']}, {_losses(status)}"
    for output in status["outputs"]:
        readers = "" if output["readers"] is None else f", {output['readers']} readers"
        waiting = f", {output['waiting']} bytes waiting" if output["waiting"] else ""
        problem = f"; closed: {output['problem']}" if output["problem"] else ""
        yield f"output {output['name']}: {output['lines']} events, {output['lost']} lost{readers}{waiting}{problem}"
    ring = status["ring"]
    yield f"ring buffer: {ring['waiting']} of {size_text(ring['size'])} bytes waiting"
    yield f"processes: {status['processes']['known']} known"
    if matched := {name: count for name, count in status["rules"].items() if count}:
        yield "rules: " + ", ".join(f"{name} {count}" for name, count in matched.items())
    names = ", ".join(program["name"] for program in status["programs"])
    yield f"kernel: Linux {status['kernel']}, {len(status['programs'])} programs{': ' if names else ''}{names}"


def _configuration(configuration: Mapping[str, Any]) -> Iterator[str]:
    if configuration["file"] is None:
        yield "configuration: flags alone"
    else:
        digest = str(configuration["sha256"])[:SHOWN_DIGEST]
        yield (
            f"configuration: {configuration['file']}, sha256 {digest}, generation {configuration['generation']}, "
            f"since {configuration['since']}"
        )
    if (last := configuration["last_reload"]) and last["error"]:
        yield f"the last reload failed at {last['time']}:"
        yield from (f"  {line}" for line in str(last["error"]).splitlines())


def _losses(status: Mapping[str, Any]) -> str:
    losses = {name: count for name, count in status["losses"].items() if name not in ("total", *BY_NAME)}
    blind_ms = losses.pop("blind_ms", 0)
    return describe_losses(status["losses"]["total"], losses, blind_ms, status["losses"]["offenders"], {})


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def duration_text(seconds: float) -> str:
    """Return a time in its two largest units: 3 d 4 h."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
