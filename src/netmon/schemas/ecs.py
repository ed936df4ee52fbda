"""Events in the Elastic Common Schema (ECS).

Source is who asked for the connection, and destination who was asked, so both are swapped for accepted connections.
What ECS has no field for is under `netmon`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from netmon.decode.format import format_timestamp
from netmon.peer_names import announced_name, certain_name
from netmon.schemas.facts import (
    TCP,
    Connection,
    Context,
    Endpoint,
    Event,
    capability_names,
    community_id,
    flow_totals,
    further_keys,
    is_established,
    kind_of,
    milliseconds,
    own_details,
    own_workload,
    without_empty,
)
from netmon.schemas.host import Host
from netmon.schemas.verdicts import NUMBERS, verdict_of

VERSION = "9.4.0"  # of the schema

_TYPES = {
    "establish": ["connection", "start"],
    "accept": ["connection", "start"],
    "close": ["connection", "end"],
    "fail": ["connection"],
    "existing": ["connection", "info"],
    "progress": ["connection", "info"],
    "name": ["connection", "info"],
    "summary": ["connection", "info"],
}
_ACTIONS = {
    "establish": "connection-requested",  # with the option outcome: connection-established
    "accept": "connection-accepted",
    "close": "connection-closed",
    "fail": "connection-failed",
    "existing": "connection-existing",
    "progress": "connection-progress",
    "name": "connection-named",
    "summary": "connections-aggregated",
    "lost": "events-lost",
}
# Keys of a process that have a field in ECS.
_MAPPED = frozenset(
    "start_time pid tid ppid uid euid gid egid cap_permitted cap_effective filename binary_path args argv "
    "container_id".split()
)


def to_ecs(event: Event, line: str, context: Context) -> dict[str, Any]:
    """Return an event as an ECS document.

    Args:
        event: As the line of JSON has it.
        line: That line.
        context: What the event lacks.
    """
    kind = kind_of(event)
    about: dict[str, Any] = {
        "id": context.event_id(line),
        "kind": "metric" if kind in ("summary", "lost") else "event",
        "action": _ACTIONS[kind],
        "module": "netmon",
        "dataset": "netmon.losses" if kind == "lost" else "netmon.connection",
    }
    document: dict[str, Any] = {
        "@timestamp": event["timestamp"],
        "ecs": {"version": VERSION},
        "event": about,
        "host": _host(context.host),
    }
    if kind == "lost":
        document["netmon"] = {"type": event["type"], "lost_events": event["lost_events"]}
        return document
    about |= {"category": ["network"], "type": _TYPES[kind]}
    own: dict[str, Any] = {"type": event["type"], **further_keys(event)}
    if kind == "summary":
        _add_summary(event, document, own)
    else:
        _add_connection(event, context, document, own)
    _add_process(event, context, document, own)
    _add_verdict(event, document, own)
    document["netmon"] = own
    return document


def _add_verdict(event: Event, document: dict[str, Any], own: dict[str, Any]) -> None:
    """Add what rules say. ECS has one rule; netmon's own keys have all."""
    verdict = verdict_of(event)
    if verdict is None:
        return
    if verdict.is_alert:
        document["event"]["kind"] = "alert"
    if verdict.rule:
        document["event"]["severity"] = NUMBERS[verdict.severity]
        document["rule"] = {"name": verdict.rule, "ruleset": "netmon"}
    document |= without_empty({"message": verdict.message, "tags": verdict.tags})
    for key in ("message", "tags"):
        own.pop(key, None)


@lru_cache(maxsize=1)
def _host(host: Host) -> dict[str, Any]:
    return without_empty(
        {
            "name": host.name,
            "hostname": host.name,
            "id": host.id,
            "boot": without_empty({"id": host.boot_id}),
            "os": {"type": "linux"},
        }
    )


def _add_connection(event: Event, context: Context, document: dict[str, Any], own: dict[str, Any]) -> None:
    details = event["network_event"]
    connection = context.connection(details)
    about = document["event"]
    established = is_established(details)
    if established is not None:
        about["outcome"] = "success" if established else "failure"
        if details["type"] == "TcpConnectionEstablish":
            about["action"] = "connection-established"
    if "reason" in details:
        about["reason"] = details["reason"]
    if "errno" in details:
        document["error"] = {"code": details["errno"]}
    if (duration := details.get("duration_us")) is not None:
        about["duration"] = duration * 1000
        about["start"] = format_timestamp(milliseconds(event["timestamp"]) * 1_000_000 - duration * 1000)
        if details["type"] == "TcpConnectionClose":
            about["end"] = event["timestamp"]
    document["network"] = _network(connection.version, connection.direction)
    document["network"]["community_id"] = community_id(connection.local, connection.peer)
    document["source"], document["destination"] = _end(connection.source), _end(connection.destination)
    if name := certain_name(details):
        document["destination"]["domain"] = name
    if name := announced_name(details):
        document["tls"] = {"client": {"server_name": name}}
    if "bytes_sent" in details:
        _add_bytes(document, connection, details["bytes_sent"], details["bytes_received"])
    mapped = ("reason", "errno", "duration_us", "bytes_sent", "bytes_received")
    own |= {"event": details["type"], "cookie": details["cookie"], **own_details(details, *mapped)}


def _network(version: int, direction: str) -> dict[str, Any]:
    return {
        "type": f"ipv{version}",
        "transport": "tcp",
        "iana_number": str(TCP),
        "direction": direction or "unknown",
    }


def _end(end: Endpoint) -> dict[str, Any]:
    ip = without_empty({"address": end.address, "ip": end.address})
    return ip if end.port is None else {**ip, "port": end.port}


def _add_bytes(document: dict[str, Any], connection: Connection, sent: int, received: int) -> None:
    document["source"]["bytes"], document["destination"]["bytes"] = connection.by_end(sent, received)
    document["network"]["bytes"] = sent + received


def _add_summary(event: Event, document: dict[str, Any], own: dict[str, Any]) -> None:
    flow = event["flow"]
    is_egress = flow["direction"] == "egress"
    connection = Connection(
        Endpoint("", None if is_egress else flow["port"]),
        Endpoint(flow["peer"], flow["port"] if is_egress else None),
        flow["direction"],
    )
    document["network"] = _network(connection.version, connection.direction)
    document["source"], document["destination"] = _end(connection.source), _end(connection.destination)
    _add_bytes(document, connection, flow["bytes_sent"], flow["bytes_received"])
    period = milliseconds(event["timestamp"]) - milliseconds(event["period_start"])
    document["event"] |= {"start": event["period_start"], "end": event["timestamp"], "duration": period * 1_000_000}
    document["source"] = without_empty(document["source"])
    own["flow"] = flow_totals(flow)


def _add_process(event: Event, context: Context, document: dict[str, Any], own: dict[str, Any]) -> None:
    process = event["process"]
    fields = _process(process, context)
    fields["thread"] = {"id": process["tid"], **fields.get("thread", {})}
    fields["parent"] = {"pid": process["ppid"]}
    if ancestors := process.get("ancestors"):
        parent_entity = without_empty({"start": ancestors[0]["start_time"], "name": ancestors[0].get("filename")})
        entity_id = context.process_id(ancestors[0])
        fields["parent"] = {"pid": ancestors[0]["pid"], **parent_entity, **without_empty({"entity_id": entity_id})}
    if (parent := event.get("parent")) is not None:
        fields["parent"] = _process(parent, context)
        own["parent"] = _unmapped(parent)
    document["process"] = fields
    own["process"] = _unmapped(process)
    workload = process.get("workload", {})
    document |= without_empty(
        {
            "container": without_empty(
                {
                    "id": process.get("container_id"),
                    "name": workload.get("container"),
                    "image": without_empty({"name": workload.get("image")}),
                }
            ),
            "orchestrator": _orchestrator(workload),
        }
    )
    if (opener := event.get("opener")) is not None:
        own["opener"] = opener


def _orchestrator(workload: Event) -> dict[str, Any]:
    """Return which pod a process belongs to; without a pod nothing."""
    if "pod" not in workload:
        return {}
    resource = {"type": "pod", "name": workload["pod"], "id": workload.get("pod_uid")}
    return without_empty(
        {"type": "kubernetes", "namespace": workload.get("namespace"), "resource": without_empty(resource)}
    )


def _process(process: Event, context: Context) -> dict[str, Any]:
    argv = process.get("argv")
    capabilities = {name: capability_names(process[f"cap_{name}"], context.host) for name in ("effective", "permitted")}
    return without_empty(
        {
            "entity_id": context.process_id(process),
            "pid": process["pid"],
            "name": process["filename"],
            "executable": process["binary_path"],
            "args": argv,
            "args_count": len(argv) if argv else None,
            "command_line": " ".join(argv) if argv else None,
            "start": process["start_time"],
            "user": {"id": str(process["euid"])},
            "real_user": {"id": str(process["uid"])},
            "group": {"id": str(process["egid"])},
            "real_group": {"id": str(process["gid"])},
            "thread": without_empty({"capabilities": without_empty(capabilities)}),
        }
    )


def _unmapped(process: Event) -> dict[str, Any]:
    args = {} if "argv" in process else {"args": process["args"]}  # ECS has a list only
    own = {key: value for key, value in process.items() if key not in _MAPPED} | args
    if workload := own.get("workload"):
        own["workload"] = own_workload(workload)
    return without_empty(own)
