"""How many bytes an event takes in each format: docs/fleet.md has these tables.

python3 -m tests.support.volumes
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterable

from netmon.forward.otlp import LEVEL, Encoder
from netmon.outputs.journal import to_entry
from netmon.outputs.syslog import SyslogEncoder
from netmon.schemas.host import Host
from netmon.schemas.renderer import Renderer
from tests.support.json_lines import connection_line, process

HOST = Host("web-07.example", "3d1219c7c4c5404aaa1f6d2a48adfda4", "161506fb-20ab-424f-a761-8de0741f386d", 40)
EVENTS = 1000
EVENTS_PER_CONNECTION = 2
SECONDS_PER_DAY = 86_400
RATES = (1, 100, 1000)  # connections a second


def events() -> list[str]:
    """Return lines of connections of twenty programs to many peers: each is opened and closed, with statistics."""
    chosen, lines = random.Random(17), []
    names = [
        "curl",
        "nginx",
        "python3.11",
        "java",
        "postgres",
        "node",
        "ssh",
        "git-remote-https",
        "php-fpm8.2",
        "redis",
    ]
    for number in range(EVENTS // EVENTS_PER_CONNECTION):
        name, pid = names[chosen.randrange(20) % len(names)], chosen.randrange(300, 60_000)
        argv = [name, f"--{chosen.choice(('config', 'serve', 'url'))}", f"/srv/{name}/{chosen.randrange(1 << 24):x}"]
        by = process(
            pid=pid,
            tid=pid,
            ppid=chosen.randrange(1, 300),
            uid=(uid := chosen.choice((0, 33, 106, 1000))),
            euid=uid,
            gid=uid,
            egid=uid,
            filename=name,
            binary_path=f"/usr/bin/{name}",
            argv=argv,
            args=" ".join(argv[1:]),
            start_time=_time(chosen.randrange(3600)),
        )
        ends = {
            "saddr": "10.0.0.5",
            "sport": chosen.randrange(32768, 60999),
            "daddr": ".".join(str(chosen.randrange(1, 255)) for _ in range(4)),
            "dport": chosen.choice((443, 80, 5432, 6379, 22)),
        }
        statistics = {
            "duration_us": chosen.randrange(10_000_000),
            "bytes_sent": chosen.randrange(10_000),
            "bytes_received": chosen.randrange(1_000_000),
            "segments_retransmitted": 0,
            "rtt_us": chosen.randrange(200, 90_000),
            "closed_by": chosen.choice(("local", "peer")),
        }
        cookie = (number << 6) + chosen.randrange(64)
        lines.append(connection_line("Establish", cookie, by=by, time=_time(3600 + number), **ends))
        lines.append(connection_line("Close", cookie, by=by, time=_time(3600 + number), **ends, **statistics))
    return lines


def _time(seconds: int) -> str:
    return f"2026-11-29T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{seconds * 7919 % 1000:03}Z"


def sizes() -> dict[str, tuple[float, float]]:
    """Return the bytes of an event in each format, as it is and compressed by gzip with others."""
    lines = events()
    raw = "".join(lines).encode()
    encode: dict[str, Callable[[Iterable[str]], bytes]] = {
        "json": lambda _lines: raw,
        **{
            name: lambda lines, name=name: "".join(Renderer(name, HOST).lines(lines)).encode()  # type: ignore[misc]
            for name in ("ecs", "ocsf", "otel")
        },
        "otlp": lambda _lines: Encoder(HOST, {}, compress=False).encode(raw).body,
        "journald": lambda lines: b"".join(to_entry(line.encode()) for line in lines),
        "syslog": lambda lines: b"".join(SyslogEncoder().encode(line.encode()) for line in lines),
    }
    found = {}
    for name, function in encode.items():
        data = function(lines)
        found[name] = (len(data) / EVENTS, len(gzip.compress(data, LEVEL)) / EVENTS)
    return found


def rows() -> dict[str, list[float]]:
    """Return the numbers of docs/fleet.md's table by format: bytes, with gzip, GB a day at each rate."""
    found = {}
    for name, (plain, compressed) in sizes().items():
        kept = compressed if name == "otlp" else plain
        days = [rate * EVENTS_PER_CONNECTION * SECONDS_PER_DAY * kept / 1e9 for rate in RATES]
        found[name] = [plain, compressed, *days]
    return found


def table() -> str:
    """Return the table of docs/fleet.md: it is rounded, so that small changes leave it."""
    head = [
        "| format | bytes | with gzip | GB a day at 1 connection/s | 100/s | 1,000/s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines = [f"| `{name}` | {' | '.join(map(_round, numbers))} |" for name, numbers in rows().items()]
    return "\n".join([*head, *lines])


def _round(value: float) -> str:
    """Return a number with two digits that count."""
    return f"{float(f'{value:.2g}'):,.15g}"


if __name__ == "__main__":
    print(table())
