"""Events of all types, with all keys that they may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netmon.schemas.host import Host
from netmon.schemas.renderer import Renderer
from tests.support.json_lines import PROGRESS, STATISTICS, TIME, connection_line, flow_line, loss_line, process

SAMPLES = Path(__file__).parents[1] / "samples"
HOST = Host("web1", "3d1219c7c4c5404aaa1f6d2a48adfda4", "161506fb-20ab-424f-a761-8de0741f386d", 40)
CONTEXT: dict[str, Any] = {"netns": 4026531840, "ifindex": 2, "mark": 7}
RICH = process(
    argv=["curl", "-s", "http://192.0.2.10/"],
    args="-s http://192.0.2.10/",
    container_id="0" * 64,
    cgroup="/system.slice/a",
    truncated="args | argv",
    foreign="mount | user",
    secureexec="SETUID",
    cap_permitted="ALL_CAPS",
    cap_effective="CAP_NET_RAW | CAP_SYS_ADMIN",
    cap_inheritable="CAP_CHOWN",
    id="f.2.3",
    workload={
        "pod": "web-1",
        "namespace": "shop",
        "pod_uid": "7c1f2a34-0000-4000-8000-000000000001",
        "container": "web",
        "image": "registry.example/web:1",
        "unit": "cri-containerd.scope",
        "user": "www-data",
    },
    ancestors=[{"start_time": TIME, "pid": 1, "filename": "systemd", "args": ""}],
    exec={"time": TIME, "path": "/usr/bin/curl", "args": "-s", "device": "8:1", "inode": 42},
)
HARMFUL = process(
    filename='a\x1b[31m"\\\u202e', binary_path="/\U0001f600\x7f (deleted)", args="\ud7ff \x00", argv=["\x85"]
)


def _with_roles(line: str) -> str:
    """Return a line with a parent and an opener."""
    fields = json.loads(line)
    other = json.loads(RICH.model_dump_json())
    return json.dumps({**fields, "parent": other, "opener": other}, separators=(",", ":")) + "\n"


def _with(line: str, **members: Any) -> str:
    """Return a line with further members."""
    return json.dumps({**json.loads(line), **members}, separators=(",", ":")) + "\n"


RULED: dict[str, Any] = {
    "rules": ["first", "second"],
    "severity": "high",
    "tags": ["T1059"],
    "message": "what the rule says",
}


def _name(name: str, scope: str) -> dict[str, Any]:
    return {"name": name, "source": "dns", "scope": scope, "age_ms": 5}


# By a name for the test.
LINES: dict[str, str] = {
    "establish": connection_line("Establish", by=RICH, **CONTEXT),
    "established": connection_line("Establish", handshake_us=17),
    "named": connection_line("Establish", 10, names=[_name("told.example", "process")]),
    "guessed": connection_line("Establish", 11, names=[_name("guessed.example", "netns")]),
    "accept": connection_line("Accept", 2),
    "accept IPv6": connection_line("Accept", 3, saddr="2001:db8::1", daddr="2001:db8::2"),
    "fail": connection_line("Fail", 4, errno="ECONNREFUSED", reason="refused"),
    "fail without errno": connection_line("Fail", 5, reason="killed"),
    "existing": connection_line("Existing", 6, direction="ingress", state="close_wait", idle_ms=3, **CONTEXT),
    "progress": connection_line("Progress", 2, **PROGRESS),
    "name": connection_line("Name", 2, names=[{"name": "a.example", "source": "sni", "scope": "connection"}]),
    "close": connection_line("Close", 1, by=RICH, **STATISTICS),
    "close of accepted": _with_roles(connection_line("Close", 2, by=RICH, **{**STATISTICS, "closed_by": "reset"})),
    "close of unknown": connection_line("Close", 99),
    "loopback": connection_line("Establish", 7, saddr="127.0.0.1", daddr="127.0.0.1"),
    "harmful": connection_line("Establish", 8, by=HARMFUL),
    "nameless": connection_line("Establish", 9, by=process(filename="", binary_path="", args="")),
    "ruled": _with(connection_line("Fail", 12, reason="refused"), **RULED),
    "named by rules": _with(connection_line("Establish", 13), rules=["dns"], severity="info"),
    "not expected": _with(connection_line("Establish", 14), expected=False),
    "losses": loss_line(count=3, ring_full=3, outputs={"file": 2}, offenders={"/a": 3}, blind_ms=4),
    "egress flow": flow_line(RICH),
    "ingress flow": flow_line(direction="ingress", peer="2001:db8::2"),
    **{
        f"{file} {number}": line
        for file in ("connections", "open")
        for number, line in enumerate((SAMPLES / f"{file}.jsonl").read_text().splitlines(keepends=True))
    },
}


def render(schema: str, host: Host = HOST, **chosen: str) -> dict[str, dict[str, Any]]:
    """Return what becomes of lines in a schema, by their names. chosen: the lines; none: all of LINES."""
    lines = chosen or LINES
    rendered = Renderer(schema, host).lines(lines.values())
    return dict(zip(lines, map(json.loads, rendered), strict=True))
