"""Events in the Open Cybersecurity Schema Framework (OCSF): class Network Activity (4001).

The source endpoint is who asked for the connection, so both are swapped for accepted connections. A LostEvents is no
activity of a network: it is a Base Event (class 0). What OCSF has no attribute for is under `unmapped`.
"""

from __future__ import annotations

from typing import Any

from netmon.peer_names import certain_name
from netmon.schemas.facts import (
    TCP,
    Connection,
    Context,
    Endpoint,
    Event,
    community_id,
    flow_totals,
    further_keys,
    is_established,
    kind_of,
    milliseconds,
    own_details,
    without_empty,
)
from netmon.schemas.verdicts import NUMBERS, verdict_of

VERSION = "1.8.0"  # of the schema
NETWORK, NETWORK_ACTIVITY = 4, 4001
BASE_EVENT = 0
UNKNOWN, OTHER = 0, 99
OPEN, CLOSE, RESET, FAIL, REFUSE, TRAFFIC = range(1, 7)
INFORMATIONAL, LOW, MEDIUM = 1, 2, 3
SUCCESS, FAILURE = 1, 2
INBOUND, OUTBOUND, LOCAL = 1, 2, 4

_ACTIVITIES = {
    "establish": OPEN,
    "accept": OPEN,
    "existing": OTHER,
    "progress": TRAFFIC,
    "name": OTHER,
    "summary": TRAFFIC,
}
_OTHER_NAMES = {"existing": "Existing", "name": "Named"}
_DIRECTIONS = {"ingress": INBOUND, "egress": OUTBOUND}
# Keys of a process that have an attribute in OCSF.
_MAPPED = frozenset(
    "start_time pid tid ppid uid euid gid egid auid filename binary_path args argv container_id cgroup "
    "truncated".split()
)


def to_ocsf(event: Event, line: str, context: Context) -> dict[str, Any]:
    """Return an event as one of OCSF.

    Args:
        event: As the line of JSON has it.
        line: That line.
        context: What the event lacks.
    """
    kind = kind_of(event)
    document: dict[str, Any] = {
        "time": milliseconds(event["timestamp"]),
        "metadata": {
            "version": VERSION,
            "uid": context.event_id(line),
            "product": {"name": "netmon", "vendor_name": "netmon", "version": context.version},
            "profiles": ["host", "container", "linux/linux_users"],
            "log_name": event["type"],
        },
        "severity_id": INFORMATIONAL,
    }
    if device := _device(context):
        document["device"] = device
    if kind == "lost":
        document |= _classified(BASE_EVENT, OTHER, 0, "Lost Events") | {"severity_id": MEDIUM}
        document["unmapped"] = {"lost_events": event["lost_events"]}
        return document
    unmapped: dict[str, Any] = {"process": _unmapped(event["process"]), **further_keys(event)}
    if kind == "summary":
        document |= _classified(NETWORK_ACTIVITY, TRAFFIC, NETWORK)
        _add_summary(event, context, document, unmapped)
    else:
        details = event["network_event"]
        name = _OTHER_NAMES.get(kind, "")
        document |= _classified(NETWORK_ACTIVITY, _activity(kind, details), NETWORK, name)
        _add_connection(event, context, document, unmapped)
    process = _process(event["process"], context)
    process["tid"] = event["process"]["tid"]
    process["parent_process"] = {"pid": event["process"]["ppid"]}
    if (parent := event.get("parent")) is not None:
        process["parent_process"] = _process(parent, context)
        unmapped["parent"] = _unmapped(parent)
    if (opener := event.get("opener")) is not None:
        unmapped["opener"] = opener
    document["actor"] = {"process": process}
    if "truncated" in event["process"]:
        document["metadata"]["is_truncated"] = True
        unmapped["process"]["truncated"] = event["process"]["truncated"]
    if (verdict := verdict_of(event)) is not None:
        document["severity_id"] = max(document["severity_id"], NUMBERS.get(verdict.severity, UNKNOWN))
        if verdict.message:
            document["message"] = unmapped.pop("message")
    document["unmapped"] = unmapped
    return document


def _classified(class_uid: int, activity: int, category: int, name: str = "") -> dict[str, Any]:
    return {
        "category_uid": category,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        **({"activity_name": name} if name else {}),
    }


def _device(context: Context) -> dict[str, Any]:
    host = context.host
    known = without_empty({"hostname": host.name, "uid": host.id, "boot_uid": host.boot_id})
    return {**known, "type_id": UNKNOWN} if known else {}


def _activity(kind: str, details: Event) -> int:
    if kind == "close":
        return RESET if details.get("closed_by") == "reset" else CLOSE
    if kind == "fail":
        return REFUSE if details["reason"] == "refused" else FAIL
    return _ACTIVITIES[kind]


def _add_connection(event: Event, context: Context, document: dict[str, Any], unmapped: dict[str, Any]) -> None:
    details = event["network_event"]
    connection = context.connection(details)
    established = is_established(details)
    document["status_id"] = UNKNOWN if established is None else SUCCESS if established else FAILURE
    document |= without_empty({"status_code": details.get("errno"), "status_detail": details.get("reason")})
    if established is False:
        document["severity_id"] = LOW
    document["connection_info"] = {
        **_info(connection),
        "uid": str(details["cookie"]),
        "community_uid": community_id(connection.local, connection.peer),
    }
    local = {"interface_uid": str(details["ifindex"])} if "ifindex" in details else {}
    _add_ends(document, connection, {**_end(connection.local), **local})
    if name := certain_name(details):  # of outgoing connections alone
        document["dst_endpoint"]["hostname"] = name
    is_progress = details["type"] == "TcpConnectionProgress"
    prefix = "interval_" if is_progress else ""  # traffic is what was carried since the report before
    time = document["time"]
    duration = details.get("interval_us" if is_progress else "duration_us")
    period = {} if duration is None else {"start_time": time - duration // 1000, "end_time": time}
    if f"{prefix}bytes_sent" in details:
        carried = _traffic(connection, details[f"{prefix}bytes_sent"], details[f"{prefix}bytes_received"])
        document["traffic"] = {**carried, **period}
    mapped = ("errno", "reason", "ifindex", f"{prefix}bytes_sent", f"{prefix}bytes_received")
    unmapped |= {"event": details["type"], **own_details(details, *mapped)}


def _info(connection: Connection) -> dict[str, Any]:
    is_local = connection.local.address == connection.peer.address or connection.peer.address.startswith("127.")
    return {
        "direction_id": LOCAL if is_local else _DIRECTIONS.get(connection.direction, UNKNOWN),
        "protocol_num": TCP,
        "protocol_name": "tcp",
        "protocol_ver_id": connection.version,
    }


def _end(end: Endpoint) -> dict[str, Any]:
    return without_empty({"ip": end.address, "port": end.port})


def _add_ends(document: dict[str, Any], connection: Connection, local: dict[str, Any]) -> None:
    """Add both ends. An end that has neither address nor name is none."""
    peer = _end(connection.peer)
    is_ingress = connection.direction == "ingress"
    ends = {"src_endpoint": peer if is_ingress else local, "dst_endpoint": local if is_ingress else peer}
    document |= {name: end for name, end in ends.items() if end.keys() - {"port"}}


def _traffic(connection: Connection, sent: int, received: int) -> dict[str, int]:
    outgoing, incoming = connection.by_end(sent, received)
    return {"bytes": sent + received, "bytes_out": outgoing, "bytes_in": incoming}


def _add_summary(event: Event, context: Context, document: dict[str, Any], unmapped: dict[str, Any]) -> None:
    flow = event["flow"]
    is_egress = flow["direction"] == "egress"
    peer = Endpoint(flow["peer"], flow["port"] if is_egress else None)
    connection = Connection(Endpoint("", None if is_egress else flow["port"]), peer, flow["direction"])
    document["connection_info"] = _info(connection)
    _add_ends(document, connection, {**_end(connection.local), **without_empty({"hostname": context.host.name})})
    start, end = milliseconds(event["period_start"]), document["time"]
    document |= {
        "time": start,  # of an aggregate
        "start_time": start,
        "end_time": end,
        "duration": end - start,
        "count": max(1, flow["opened"]),
    }
    document["traffic"] = {
        **_traffic(connection, flow["bytes_sent"], flow["bytes_received"]),
        "start_time": start,
        "end_time": end,
    }
    unmapped["flow"] = {"port": flow["port"], **flow_totals(flow)}


def _process(process: Event, context: Context) -> dict[str, Any]:
    argv, name, path = process.get("argv"), process["filename"], process["binary_path"]
    file = {"name": name, "path": path, "type_id": 1} if name and path else {}  # 1: a regular file
    workload = process.get("workload", {})
    container = without_empty(
        {
            "uid": process.get("container_id"),
            "name": workload.get("container"),
            "pod_uuid": workload.get("pod_uid"),
            "orchestrator": "Kubernetes" if "pod" in workload else None,
        }
    )
    if not container.keys() & {"uid", "name"}:  # OCSF wants one of them
        container = {}
    return without_empty(
        {
            "pid": process["pid"],
            "uid": context.process_id(process),
            "name": name,
            "path": path,
            "file": file,
            "cmd_line": " ".join(argv) if argv else None,
            "created_time": milliseconds(process["start_time"]),
            "user": {"uid": str(process["uid"])},
            "euid": process["euid"],
            "group": {"uid": str(process["gid"])},
            "egid": process["egid"],
            "auid": process["auid"],
            "container": container,
            "ancestry": [_ancestor(one, context) for one in process.get("ancestors", ())],
        }
    )


def _ancestor(ancestor: Event, context: Context) -> dict[str, Any]:
    return without_empty(
        {
            "pid": ancestor["pid"],
            "uid": context.process_id(ancestor),
            "name": ancestor.get("filename"),
            "created_time": milliseconds(ancestor["start_time"]),
        }
    )


def _unmapped(process: Event) -> dict[str, Any]:
    cgroup = {"cgroup": process["cgroup"]} if "cgroup" in process else {}
    args = {} if "argv" in process else {"args": process["args"]}  # a command line has the first one, too
    return without_empty({key: value for key, value in process.items() if key not in _MAPPED} | args | cgroup)
