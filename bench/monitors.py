"""The monitors that are compared: how to start each, and how to recognize its reports."""

from __future__ import annotations

import sys
from dataclasses import dataclass

NETMON = (sys.executable, "-m", "netmon", "run", "--any-kernel")

# Prints what the tracers print, in the functions that netmon watches: type, process, command, addresses, ports.
BPFTRACE_EVENT = """
    $family = $sk->__sk_common.skc_family;
    $port = $sk->__sk_common.skc_dport;
    $peer_port = ($port >> 8) | (($port & 0xff) << 8);
    if ($family == 2) {
        printf("%s %d %s %s %s %d %d\\n", "TYPE", pid, comm, ntop($sk->__sk_common.skc_rcv_saddr),
               ntop($sk->__sk_common.skc_daddr), $sk->__sk_common.skc_num, $peer_port);
    } else {
        printf("%s %d %s %s %s %d %d\\n", "TYPE", pid, comm,
               ntop($sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8),
               ntop($sk->__sk_common.skc_v6_daddr.in6_u.u6_addr8), $sk->__sk_common.skc_num, $peer_port);
    }
"""
BPFTRACE_PROBES = (
    ("connect", "kretfunc:tcp_v4_connect", "retval == 0", "args->sk"),
    ("connect", "kretfunc:tcp_v6_connect", "retval == 0", "args->sk"),
    ("accept", "kretfunc:inet_csk_accept", "retval != 0", "(struct sock *)retval"),
    ("close", "kfunc:tcp_close", "args->sk->__sk_common.skc_dport != 0", "args->sk"),
)
BPFTRACE_SCRIPT = "".join(
    f"{probe} /{condition}/ {{ $sk = {sock}; {BPFTRACE_EVENT.replace('TYPE', kind)} }}\n"
    for kind, probe, condition, sock in BPFTRACE_PROBES
)


@dataclass(frozen=True)
class Monitor:
    """A monitor."""

    name: str
    command: tuple[str, ...]
    # A text that each event of a program has once; {} is the program's name.
    mark: str = " {} "
    # It reports nothing of these loads.
    silent: bool = False
    # How many of a connection's four events it reports at most.
    reports: int = 4
    # The kernels on which it works; empty: all.
    kernels: tuple[str, ...] = ()
    # It compiles itself at the start, for a minute, and takes part in the first round only.
    compiles: bool = False

    @property
    def is_netmon(self) -> bool:
        return self.command[: len(NETMON)] == NETMON


BASE_LINE = "nothing"
REFERENCE = "tcptracer"
IN_JSON = '"filename":"{}"'

MONITORS = {
    monitor.name: monitor
    for monitor in (
        Monitor(BASE_LINE, ("sleep", "infinity"), silent=True, reports=0),
        Monitor("netmon", NETMON, mark=IN_JSON),
        Monitor("netmon-reject", (*NETMON, "--dst-ip", "192.0.2.1"), mark=IN_JSON, silent=True, reports=0),
        Monitor(REFERENCE, ("tcptracer",)),
        Monitor("tcplife", ("tcplife",), reports=2),
        Monitor("tcpconnect", ("tcpconnect",), reports=1),
        Monitor("bpftrace", ("bpftrace", "-e", BPFTRACE_SCRIPT)),
        Monitor("bcc-tcptracer", ("tcptracer-bpfcc",), kernels=("6.1",), compiles=True),
    )
}

# netmon's options whose cost is counted in instructions: each alone, and together.
DETAILS = ("--outcome", "--statistics", "--context", "--parent", "--opener")
OPTIONS = (
    *((option,) for option in (*DETAILS, "--existing", "--exec", "--names", "--sni")),
    ("--progress", "30s"),
    ("--workload",),
    ("--ancestors", "16"),
    DETAILS,
    ("--uid", "0"),
)
# Everything that an event may have. The configuration is for reloads; its filters reject nothing of the loads.
CONFIG = "/tmp/day.yaml"
EVERYTHING = (
    *(*DETAILS, "--existing", "--exec", "--names", "--sni", "--workload", "--id"),
    *("--ancestors", "16", "--progress", "30s", "--config", CONFIG),
)
ALL_OPTIONS = Monitor("netmon with everything on", (*NETMON, *EVERYTHING), mark=IN_JSON)

COUNTED = {
    monitor.name: monitor
    for monitor in (
        MONITORS["netmon"],
        *(Monitor(" ".join(("netmon", *options)), (*NETMON, *options), mark=IN_JSON) for options in OPTIONS),
        MONITORS["netmon-reject"],
        MONITORS[REFERENCE],
        MONITORS["tcplife"],
        MONITORS["tcpconnect"],
        MONITORS["bpftrace"],
    )
}


def names_for(kernel: str) -> tuple[str, ...]:
    """Return the names of the monitors that work on a kernel."""
    return tuple(name for name, monitor in MONITORS.items() if not monitor.kernels or kernel in monitor.kernels)
