"""Conditions, and events that they may match."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.rule_evaluator import Compare, Condition, Invert, Join, Json

IPV4 = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "192.0.2.0/24", "0.0.0.0/0", "127.0.0.1"]
IPV6 = ["2000::/3", "2001:db8::/32", "2001:db8::1", "::1", "fe80::/10", "::/0"]
ADDRESSES = ["10.1.2.3", "10.2.0.1", "192.0.2.9", "127.0.0.1", "255.255.255.255", "0.0.0.0"]
ADDRESSES6 = ["2001:db8::1", "2001:db8:1::", "::1", "fe80::2", "2a00::1", "ffff::"]
NUMBERS = [0, 1, 22, 443, 8000, 65535]
LARGE = [0, 1, 1000, 10**6, 2**32, 2**63]
PATHS = ["/usr/bin/curl", "/usr/bin/bash", "/opt/a/b/curl", "/tmp/x"]
NAMES = ["curl", "bash", "x"]
GLOBS = ["/usr/*/curl", "/**/curl", "*", "**", "/usr/bin/*", "/*/x", "/usr/**"]
TYPES = ["establish", "accept", "close", "fail", "existing", "progress"]
ORDER = ["<", "<=", ">", ">="]
EQUAL = ["==", "!="]


def of(names: list[str], values: list[Any], *operators: str) -> st.SearchStrategy[Condition]:
    single = st.builds(
        Compare,
        st.sampled_from(names),
        st.sampled_from([*EQUAL, *operators]),
        st.lists(st.sampled_from(values), min_size=1, max_size=1),
    )
    several = st.builds(
        Compare,
        st.sampled_from(names),
        st.sampled_from(["in", "not in"]),
        st.lists(st.sampled_from(values), min_size=1, max_size=3),
    )
    return single | several


def joined(comparisons: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    """Return conditions of these comparisons."""
    return st.recursive(
        comparisons,
        lambda inner: (
            st.builds(Invert, inner)
            | st.builds(Join, st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3))
        ),
        max_leaves=8,
    )


COMPARISONS: st.SearchStrategy[Condition] = st.one_of(
    of(["ipv4_src", "ipv4_dst"], IPV4),
    of(["ipv6_src", "ipv6_dst"], IPV6),
    of(["ip_src", "ip_dst"], IPV4 + IPV6),
    of(["port_src", "port_dst"], NUMBERS, *ORDER),
    of(["uid", "pid"], NUMBERS, *ORDER),
    of(["bytes", "bytes_sent", "duration", "rtt"], LARGE, *ORDER),
    of(["binary_path"], PATHS),
    of(["binary_name"], NAMES),
    of(["binary_prefix"], ["/usr/", "/opt/a", "/"]),
    of(["event_type"], TYPES),
    of(["direction"], ["egress", "ingress"]),
    of(["reason"], ["refused", "timeout"]),
    of(["secureexec"], ["SETUID", "SETGID"]),
    of(["capabilities"], ["CAP_NET_RAW", "CAP_CHOWN"]),
    st.builds(
        Compare,
        st.just("binary_path"),
        st.sampled_from(["like", "not like"]),
        st.lists(st.sampled_from(GLOBS), min_size=1, max_size=1),
    ),
)
CONDITIONS = joined(COMPARISONS)


@st.composite
def events(draw: st.DrawFn) -> Json:
    """Return an event's JSON, with the keys that events of its type have."""
    kind = draw(st.sampled_from(TYPES))
    pool = draw(st.sampled_from([ADDRESSES, ADDRESSES6]))
    path = draw(st.sampled_from([*PATHS, "/tmp/x (deleted)", ""]))
    network: Json = {
        "type": f"TcpConnection{kind.title()}",
        "saddr": draw(st.sampled_from(pool)),
        "daddr": draw(st.sampled_from(pool)),
        "sport": draw(st.sampled_from(NUMBERS)),
        "dport": draw(st.sampled_from(NUMBERS)),
        "cookie": draw(st.integers(1, 5)),
    }
    if kind in ("close", "progress", "existing") and draw(st.booleans()):
        network |= {name: draw(st.sampled_from(LARGE)) for name in ("bytes_sent", "bytes_received", "rtt_us")}
        if draw(st.booleans()):
            network["duration_us"] = draw(st.sampled_from(LARGE))
    if kind == "existing":
        network["direction"] = draw(st.sampled_from(["egress", "ingress"]))
    if kind == "fail":
        network["reason"] = draw(st.sampled_from(["refused", "timeout", "other"]))
    return {
        "type": "NetworkEvent",
        "process": {
            **dict.fromkeys(("euid", "gid", "egid", "auid", "ppid", "tid"), 0),
            "uid": draw(st.sampled_from(NUMBERS)),
            "pid": draw(st.sampled_from(NUMBERS)),
            "start_time": "2025-11-23T00:00:00.000Z",
            "cap_inheritable": "",
            "cap_permitted": "",
            "cap_effective": draw(st.sampled_from(["", "ALL_CAPS", "CAP_NET_RAW", "CAP_CHOWN | CAP_NET_RAW"])),
            "secureexec": draw(st.sampled_from(["", "SETUID", "SETUID | SETGID"])),
            "filename": path.removesuffix(" (deleted)").rpartition("/")[2],
            "binary_path": path,
            "args": "",
            **({"truncated": "binary_path"} if draw(st.booleans()) and path else {}),
        },
        "network_event": network,
        "timestamp": "2025-11-23T00:00:00.000Z",
    }


# What the kernel half knows whole.
KNOWN_CONDITIONS = joined(
    st.one_of(
        of(["ipv4_src", "ipv4_dst"], IPV4),
        of(["ipv6_src", "ipv6_dst"], IPV6),
        of(["ip_src", "ip_dst"], IPV4 + IPV6),
        of(["port_src", "port_dst"], NUMBERS, *ORDER),
        of(["uid", "euid", "gid", "egid", "auid", "netns"], NUMBERS, *ORDER),
        of(["binary_path"], PATHS),
        of(["binary_name"], NAMES),
        of(["binary_prefix"], ["/usr/", "/opt/a", "/", "/usr/bin/"]),
        of(["direction"], ["egress", "ingress"]),
    )
)
RULES = st.lists(
    st.tuples(CONDITIONS | KNOWN_CONDITIONS, st.sampled_from(["report", "report", "count", "drop"])),
    min_size=1,
    max_size=6,
)
