"""Connections of programs: their events, in order, and what one of them looks like."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.rule_evaluator import Json

ADDRESSES = [
    *(f"10.1.{i}.{j}" for i in range(12) for j in range(8)),
    *(f"192.0.2.{i}" for i in range(8)),
    *(f"{i}.8.8.8" for i in range(20, 60)),
    "169.254.169.254",
    "127.0.0.1",
    *(f"2001:db8:{i:x}::{j:x}" for i in range(12) for j in range(6)),
    "::1",
    "fe80::1",
]
HOSTS = [
    "example.com",
    *(f"a{i}.b.cdn.example.com" for i in range(8)),
    *(f"host{i}.test" for i in range(80)),
    "bbc.co.uk",
    "localhost",
]
PATHS = [
    "/usr/bin/curl",
    "/usr/bin/python3.11",
    "/tmp/x y",
    "/tmp/a/x",
    "/tmp/b/c/x",
    '/tmp/"q"',
    "/tmp/\u202ex",
    "/bin/#a",
    "/é's",
]
ARGS = [
    "",
    "/opt/app.py --x",
    "/tmp/a/app.py",
    "-u /opt/app.py",
    "-m http.server 80",
    "-c 'import os'",
    '/tmp/"\t.py',
    "-",
]
PORTS = [*range(70, 100), *range(1000, 1030), 443, 40000, 50000, 60000, 65535]
UNITS: list[Json] = [
    {},
    {"unit": "nginx.service"},
    {"unit": "foo@1.service"},
    {"unit": "session-3.scope"},
    {"unit": "run-u12.service"},
    {"container": "web", "namespace": "shop", "pod": "web-1", "unit": "kubelet.service"},
    {"container": "db"},
]


def event(kind: str = "Establish", **changed: Any) -> Json:
    """Return an event of a connection of curl with 192.0.2.1 port 443. changed: keys of its parts."""
    process = {
        **dict.fromkeys(("pid", "tid", "ppid", "uid", "euid", "gid", "egid", "auid"), 1),
        "start_time": "2026-01-02T03:04:05.678Z",
        **dict.fromkeys(("cap_inheritable", "cap_permitted", "cap_effective", "secureexec", "args"), ""),
        "filename": "curl",
        "binary_path": "/usr/bin/curl",
    }
    network = {
        "type": f"TcpConnection{kind}",
        "saddr": "10.0.0.1",
        "daddr": "192.0.2.1",
        "sport": 40000,
        "dport": 443,
        "cookie": 1,
    }
    path = changed.get("binary_path")
    if path is not None:
        process["filename"] = path.rpartition("/")[2]
    for key, value in changed.items():
        (network if key in network or key in ("names", "direction") else process)[key] = value
    return {
        "type": "NetworkEvent",
        "process": process,
        "network_event": network,
        "timestamp": "2026-01-02T03:04:05.678Z",
    }


def named(*names: str, scope: str = "process") -> list[Json]:
    """Return the names of a peer, as events have them."""
    return [{"name": name, "source": "dns", "scope": scope, "age_ms": 5} for name in names]


@st.composite
def connections(draw: st.DrawFn, most: int = 60) -> list[Json]:
    """Return the events of connections in the order in which they came: openings, and some ends."""
    found: list[Json] = []
    for cookie in range(1, draw(st.integers(0, most)) + 1):
        kind = draw(st.sampled_from(["Establish", "Accept", "Fail", "Existing"]))
        daddr = draw(st.sampled_from(ADDRESSES))
        workload = draw(st.sampled_from(UNITS))
        port = draw(st.sampled_from(PORTS))
        egress = kind in ("Establish", "Fail") or (kind == "Existing" and draw(st.booleans()))
        keys = {
            "binary_path": draw(st.sampled_from(PATHS)),
            "args": draw(st.sampled_from(ARGS)),
            "daddr": daddr,
            "saddr": "::1" if ":" in daddr else "10.0.0.1",
            "sport": 40000 if egress else port,
            "dport": port if egress else 40000,
            "cookie": cookie,
            **({"workload": workload} if workload else {}),
            **({"container_id": "0123456789abcdef"} if "container" in workload or draw(st.booleans()) else {}),
            **({"direction": "egress" if egress else "ingress"} if kind == "Existing" else {}),
        }
        if kind in ("Establish", "Fail") and draw(st.booleans()):
            keys["names"] = named(draw(st.sampled_from(HOSTS)), scope=draw(st.sampled_from(["process", "host"])))
        found.append(event(kind, **keys))
        if kind != "Fail" and draw(st.booleans()):
            found.append(event("Close", **keys))
    return found
