"""Events as log records of OpenTelemetry, in OTLP's JSON: each line is a LogsData of one record.

That is what the collector's file receiver reads. The host is the resource. OpenTelemetry has no event for a connection
yet, so their names, and what its semantic conventions have no attribute for, are under `netmon.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from netmon.peer_names import certain_name
from netmon.schemas.facts import (
    Connection,
    Context,
    Event,
    flow_totals,
    further_keys,
    is_established,
    kind_of,
    milliseconds,
    own_details,
    own_workload,
)
from netmon.schemas.host import Host
from netmon.schemas.verdicts import LOG_SEVERITIES, verdict_of

VERSION = "1.44.0"  # of the semantic conventions
SCHEMA_URL = f"https://opentelemetry.io/schemas/{VERSION}"
INFO, WARN = (9, "INFO"), (13, "WARN")
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})

_NAMES = {
    "establish": "netmon.connection.open",
    "accept": "netmon.connection.open",
    "lost": "netmon.events.lost",
    "summary": "netmon.connection.summary",
}
# Keys of a process that have an attribute, and which that is.
_PROCESS = {
    "pid": "process.pid",
    "ppid": "process.parent_pid",
    "start_time": "process.creation.time",
    "filename": "process.executable.name",
    "binary_path": "process.executable.path",
    "argv": "process.command_args",
    "uid": "process.real_user.id",
    "euid": "process.user.id",
    "container_id": "container.id",
    "cgroup": "process.linux.cgroup",
}
# The attribute's names of TCP's states where they differ from netmon's.
_STATES = {"fin_wait1": "fin_wait_1", "fin_wait2": "fin_wait_2", "syn_recv": "syn_received", "close": "closed"}


def to_otel(event: Event, line: str, context: Context) -> dict[str, Any]:
    """Return an event as OTLP's LogsData.

    Args:
        event: As the line of JSON has it.
        line: That line.
        context: What the event lacks.
    """
    return to_logs_data([to_record(event, line, context)], _resource(context.host, context.version), context.version)


def to_logs_data(records: list[dict[str, Any]], resource: list[dict[str, Any]], version: str) -> dict[str, Any]:
    """Return a LogsData of records that come from one resource. resource: its attributes; version: netmon's."""
    scope = {"name": "netmon", "version": version}
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": resource},
                "schemaUrl": SCHEMA_URL,
                "scopeLogs": [{"scope": scope, "logRecords": records, "schemaUrl": SCHEMA_URL}],
            }
        ]
    }


@lru_cache(maxsize=1)
def _resource(host: Host, version: str) -> list[dict[str, Any]]:
    return to_resource(host, version)


def to_resource(host: Host, version: str, further: Mapping[str, str] = NO_ATTRIBUTES) -> list[dict[str, Any]]:
    """Return the attributes of what records come from. further: attributes beyond these, or in their place."""
    return _attributes(
        {
            "host.name": host.name,
            "host.id": host.id,
            "netmon.boot.id": host.boot_id,
            "os.type": "linux",
            "service.name": "netmon",
            "service.version": version,
            **further,
        }
    )


def to_record(event: Event, line: str, context: Context) -> dict[str, Any]:
    """Return an event as a LogRecord. The arguments are those of to_otel()."""
    kind = kind_of(event)
    severity = WARN if kind in ("fail", "lost") else INFO
    attributes: dict[str, Any] = {"log.record.uid": context.event_id(line), "netmon.type": event["type"]}
    if kind == "lost":
        attributes |= _own("netmon.lost_events", event["lost_events"])
    else:
        if kind == "summary":
            attributes |= _flow(event)
        else:
            attributes |= _connection(event["network_event"], context)
        attributes |= _process(event, context) | _own("netmon", further_keys(event))
    body: dict[str, Any] = {}
    if (verdict := verdict_of(event)) is not None:
        severity = max(severity, LOG_SEVERITIES.get(verdict.severity, severity))
        attributes["security_rule.name"] = verdict.rule
        if verdict.message:
            del attributes["netmon.message"]
            body = {"body": _value(verdict.message)}
    return {
        "timeUnixNano": str(milliseconds(event["timestamp"]) * 1_000_000),
        "severityNumber": severity[0],
        "severityText": severity[1],
        "eventName": _NAMES.get(kind, f"netmon.connection.{kind}"),
        "attributes": _attributes(attributes),
        **body,
    }


def _connection(details: Event, context: Context) -> dict[str, Any]:
    connection = context.connection(details)
    attributes = {
        **_network(connection),
        "network.local.address": connection.local.address,
        "network.local.port": connection.local.port,
        "network.peer.address": connection.peer.address,
        "network.peer.port": connection.peer.port,
        **_roles(connection),
        "error.type": details.get("reason"),
        "netmon.event": details["type"],
        "netmon.cookie": details["cookie"],
    }
    state = details.get("state")
    if state is None and is_established(details):
        state = "established"
    if name := certain_name(details):
        attributes["server.address"] = name
    attributes["network.connection.state"] = _STATES.get(state, state) if state else None
    return attributes | _own("netmon", own_details(details, "reason", "state"))


def _network(connection: Connection) -> dict[str, Any]:
    return {
        "network.transport": "tcp",
        "network.type": f"ipv{connection.version}",
        "netmon.direction": connection.direction,
    }


def _roles(connection: Connection) -> dict[str, Any]:
    """Return who is client and server, as far as it is known who asked."""
    if not connection.direction:
        return {}
    client, server = connection.source, connection.destination
    return {
        "client.address": client.address,
        "client.port": client.port,
        "server.address": server.address,
        "server.port": server.port,
    }


def _flow(event: Event) -> dict[str, Any]:
    flow = event["flow"]
    is_ipv6 = ":" in flow["peer"]
    server = {"server.address": flow["peer"], "server.port": flow["port"]}
    roles = server if flow["direction"] == "egress" else {"client.address": flow["peer"], "server.port": flow["port"]}
    return {
        "network.transport": "tcp",
        "network.type": "ipv6" if is_ipv6 else "ipv4",
        "network.peer.address": flow["peer"],
        **roles,
        "netmon.direction": flow["direction"],
        "netmon.period_start": event["period_start"],
        "netmon.flow.bytes_sent": flow["bytes_sent"],
        "netmon.flow.bytes_received": flow["bytes_received"],
        **_own("netmon.flow", flow_totals(flow)),
    }


def _process(event: Event, context: Context) -> dict[str, Any]:
    process = event["process"]
    attributes: dict[str, Any] = {attribute: process.get(key) for key, attribute in _PROCESS.items()}
    if argv := process.get("argv"):
        attributes |= {"process.command_line": " ".join(argv), "process.args_count": len(argv)}
    attributes["netmon.process.entity_id"] = context.process_id(process)
    own = {key: value for key, value in process.items() if key not in _PROCESS and not (key == "args" and argv)}
    if workload := own.pop("workload", None):
        attributes |= _workload(workload)
        own |= _own("workload", own_workload(workload))
    attributes |= _own("netmon.process", own)
    for role in ("parent", "opener"):
        if (other := event.get(role)) is not None:
            attributes |= _own(f"netmon.{role}", other)
    return attributes


def _workload(workload: Event) -> dict[str, Any]:
    """Return the names of a pod and of its container: of the record, as its resource is netmon's host."""
    container = "k8s.container.name" if "pod" in workload else "container.name"
    names = {
        "pod": "k8s.pod.name",
        "namespace": "k8s.namespace.name",
        "pod_uid": "k8s.pod.uid",
        "container": container,
        "image": "container.image.name",
    }
    return {attribute: workload.get(key) for key, attribute in names.items()}


def _own(prefix: str, values: Event) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in values.items()}


def _attributes(values: Event) -> list[dict[str, Any]]:
    """Return attributes as OTLP has them, without those that are not known or empty."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value or value == 0]


def _value(value: Any) -> dict[str, Any]:
    kind = type(value)
    if kind is str:
        return {"stringValue": value}
    if kind is int:
        return {"intValue": str(value)}
    if kind is list:
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if kind is dict:
        return {"kvlistValue": {"values": _attributes(value)}}
    return {"boolValue": value}
