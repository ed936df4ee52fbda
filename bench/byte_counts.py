"""How many bytes monitors say that connections have carried, beside what the kernel says (scenarios.py).

All monitors run at once, so that all see the same connections.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.monitors import IN_JSON, NETMON, Monitor
from bench.running import Running, wait_until
from bench.samples import Samples
from bench.scenarios import SCENARIOS, port_of
from tests.support.sockets import Pair, connect_pair, listen

TRUTH = "TCP_INFO"
WARM_UP_PORT = 7000
DEADLINE = 120.0
PAUSE = 0.5


class Carried(NamedTuple):
    """What one end has carried, as a monitor says. `off`: how far its rounding may be from it, in bytes."""

    port: int
    peer_port: int
    sent: float
    received: float
    off: float = 0.0


def of_netmon(text: str) -> Iterable[Carried]:
    """Read netmon's lines of JSON."""
    for line in text.splitlines():
        event = json.loads(line).get("network_event", {})
        if event.get("type") == "TcpConnectionClose" and "bytes_sent" in event:
            yield Carried(event["sport"], event["dport"], event["bytes_sent"], event["bytes_received"])


def of_tcplife(text: str) -> Iterable[Carried]:
    """Read tcplife's table: PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS. A name may have blanks."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 9 and words[0].isdigit():
            port, _, peer_port, sent, received, _ = words[-6:]
            yield Carried(int(port), int(peer_port), float(sent) * 1024, float(received) * 1024, off=0.005 * 1024)


def of_ss(text: str) -> Iterable[Carried]:
    """Read the lines of `ss -E`: sockets that were destroyed, with tcp_info."""
    for line in text.splitlines():
        ports = re.findall(r"\S+:(\d+)\s", line)
        if len(ports) >= 2 and "bytes_" in line:
            counts = {name: int(count) for name, count in re.findall(r"(bytes_\w+):(\d+)", line)}
            sent = counts.get("bytes_sent", 0) - counts.get("bytes_retrans", 0)
            yield Carried(int(ports[0]), int(ports[1]), sent, counts.get("bytes_received", 0))


def of_conntrack(text: str) -> Iterable[Carried]:
    """Read the lines of `conntrack -E`: one for both ends, which counts packets with their headers, each way."""
    for line in text.splitlines():
        if "[DESTROY]" in line and len(sizes := re.findall(r" bytes=(\d+)", line)) == 2:
            port, peer_port, *_ = map(int, re.findall(r" [sd]port=(\d+)", line))
            there, back = map(int, sizes)
            yield Carried(port, peer_port, there, back)
            yield Carried(peer_port, port, back, there)


@dataclass(frozen=True)
class Counter:
    """A monitor that counts bytes, and what reads its reports."""

    monitor: Monitor
    read: Callable[[str], Iterable[Carried]]


COUNTERS = {
    counter.monitor.name: counter
    for counter in (
        Counter(Monitor("netmon", (*NETMON, "--statistics", "--format", "json"), mark=IN_JSON), of_netmon),
        Counter(Monitor("tcplife", ("tcplife",)), of_tcplife),
        Counter(Monitor("ss -E", ("stdbuf", "-oL", "ss", "-E", "-tinOH")), of_ss),
        Counter(
            Monitor("conntrack -E", ("stdbuf", "-oL", "conntrack", "-E", "-e", "DESTROY", "-p", "tcp")), of_conntrack
        ),
    )
}
# conntrack tracks only where a rule asks for it, and counts bytes on request.
TRACKING = """
table inet bench {
    chain output { type filter hook output priority 0; ct state new accept; }
}
"""


def measure(samples: Samples) -> None:
    """Run all scenarios under all monitors, and send what each says of each."""
    with ExitStack() as running:
        subprocess.run(["depmod"], check=True, capture_output=True)  # the kernel loads modules by what it finds
        subprocess.run(["nft", "-f", "-"], input=TRACKING, text=True, check=True)
        Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")
        started = {}
        for name, counter in COUNTERS.items():
            samples.say(f"starts {name}")
            started[name] = running.enter_context(Running(counter.monitor))
        wait_until(lambda: _all_have_reported(started), "the first report of each", DEADLINE, PAUSE)
        for name in SCENARIOS:
            samples.say(name)
            command = [sys.executable, "-m", "bench.scenarios", name, str(port_of(name))]
            truth = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE).stdout)
            samples.send(0, TRUTH, name, **{key: truth[key] for key in ("ends", "sent", "received")})
        forget_tracked()
        for monitor in started.values():
            monitor.settle()
            monitor.stop()
        for name, monitor in started.items():
            reports = list(COUNTERS[name].read(monitor.output))
            for scenario in SCENARIOS:
                samples.send(0, name, scenario, **sums(reports, port_of(scenario)))


def forget_tracked() -> None:
    """Have the kernel destroy the entries of connections that have ended, which it keeps for two minutes."""
    subprocess.run(["conntrack", "-F"], check=True, capture_output=True)


def sums(reports: Iterable[Carried], port: int) -> dict[str, float]:
    """Return how many ends have a port, and what they have carried."""
    mine = [report for report in reports if port in (report.port, report.peer_port)]
    return {
        "ends": len(mine),
        "sent": sum(report.sent for report in mine),
        "received": sum(report.received for report in mine),
        "off": sum(report.off for report in mine),
    }


def _all_have_reported(started: dict[str, Running]) -> bool:
    """Make a connection; return whether all monitors have reported one."""
    with listen(port=WARM_UP_PORT) as listener:
        pair: Pair = connect_pair(listener, ("127.0.0.1", WARM_UP_PORT))
        pair.client.sendall(b"x")
        pair.close()
    forget_tracked()
    time.sleep(PAUSE)
    for monitor in started.values():
        monitor.check()
    return all(any(True for _ in COUNTERS[name].read(monitor.output)) for name, monitor in started.items())
