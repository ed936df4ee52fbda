"""Validates documents against the published schemas: each function returns what is wrong."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

OWN = "netmon"  # the namespace of what a schema has no place for

# OTLP's messages in JSON, as opentelemetry-proto's logs.proto and common.proto define them (Apache-2.0).
_VALUE = {"$ref": "#/$defs/value"}
_ATTRIBUTES = {"type": "array", "items": {"$ref": "#/$defs/attribute"}}
LOGS_DATA: dict[str, Any] = {
    "$defs": {
        "value": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {
                "stringValue": {"type": "string"},
                "boolValue": {"type": "boolean"},
                "intValue": {"type": "string", "pattern": "^-?[0-9]+$"},
                "doubleValue": {"type": "number"},
                "arrayValue": {"properties": {"values": {"type": "array", "items": _VALUE}}},
                "kvlistValue": {"properties": {"values": _ATTRIBUTES}},
            },
        },
        "attribute": {
            "type": "object",
            "required": ["key", "value"],
            "additionalProperties": False,
            "properties": {"key": {"type": "string", "minLength": 1}, "value": _VALUE},
        },
    },
    "type": "object",
    "required": ["resourceLogs"],
    "additionalProperties": False,
    "properties": {
        "resourceLogs": {
            "type": "array",
            "items": {
                "additionalProperties": False,
                "properties": {
                    "resource": {"additionalProperties": False, "properties": {"attributes": _ATTRIBUTES}},
                    "schemaUrl": {"type": "string"},
                    "scopeLogs": {
                        "type": "array",
                        "items": {
                            "additionalProperties": False,
                            "properties": {
                                "scope": {
                                    "additionalProperties": False,
                                    "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
                                },
                                "schemaUrl": {"type": "string"},
                                "logRecords": {
                                    "type": "array",
                                    "items": {
                                        "additionalProperties": False,
                                        "properties": {
                                            "timeUnixNano": {"type": "string", "pattern": "^[0-9]+$"},
                                            "severityNumber": {"type": "integer", "minimum": 1, "maximum": 24},
                                            "severityText": {"type": "string"},
                                            "body": {
                                                "type": "object",
                                                "properties": {"stringValue": {"type": "string"}},
                                                "required": ["stringValue"],
                                                "additionalProperties": False,
                                            },
                                            "eventName": {"type": "string", "pattern": "^[a-z.]+$"},
                                            "attributes": _ATTRIBUTES,
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


@cache
def published(name: str) -> dict[str, Any]:
    """Return what a schema allows: ecs, ocsf or otel."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    return content


def ecs_problems(document: dict[str, Any]) -> list[str]:
    """Return the fields of a document that ECS does not have, or has with another type or other values."""
    fields = published("ecs")
    problems = []
    for name, value in _leaves({key: value for key, value in document.items() if key != OWN}):
        field = fields.get(name)
        if field is None:
            problems.append(f"{name}: is no field of ECS")
            continue
        if isinstance(value, list) != field["array"]:
            problems.append(f"{name}: {'is no' if field['array'] else 'is an'} array")
        for item in value if isinstance(value, list) else [value]:
            if not _is_of_type(item, field["type"]):
                problems.append(f"{name}: {item!r} is no {field['type']}")
            if field["values"] and item not in field["values"]:
                problems.append(f"{name}: {item!r} is none of {field['values']}")
    return problems


def _leaves(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in fields.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_of_type(value: Any, kind: str) -> bool:
    if kind == "long":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "ip":
        return bool(ipaddress.ip_address(value))
    if kind == "date":
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").year > 1970
    return isinstance(value, str)


def ocsf_problems(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a document by the schema of its class."""
    schema = published("ocsf").get(str(document["class_uid"]))
    if schema is None:
        return [f"there is no class {document['class_uid']}"]
    validator = jsonschema.Draft202012Validator(schema)
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    if document["type_uid"] != document["class_uid"] * 100 + document["activity_id"]:
        problems.append("type_uid: is not that of class and activity")
    if document["category_uid"] != document["class_uid"] // 1000:
        problems.append("category_uid: is not that of the class")
    return problems


def otel_problems(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a LogsData: its form, and attributes that are neither the conventions' nor netmon's."""
    validator = jsonschema.Draft202012Validator(LOGS_DATA)
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    known = published("otel")
    types = {"int": "intValue", "string": "stringValue", "string[]": "arrayValue", "boolean": "boolValue"}
    for of_resource in document["resourceLogs"]:
        records = [record for scope in of_resource["scopeLogs"] for record in scope["logRecords"]]
        for holder in (of_resource["resource"], *records):
            names = [attribute["key"] for attribute in holder["attributes"]]
            problems += [f"{name}: is there twice" for name in {*names} if names.count(name) > 1]
            for attribute in holder["attributes"]:
                name, (kind,) = attribute["key"], attribute["value"]
                if name.startswith(f"{OWN}."):
                    continue
                if name not in known:
                    problems.append(f"{name}: is no attribute")
                elif types[known[name]] != kind:
                    problems.append(f"{name}: is no {known[name]}")
    return problems
