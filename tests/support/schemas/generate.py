"""Makes ecs.json, ocsf.json and otel.json from checkouts of the projects that publish them.

    python3 -m tests.support.schemas.generate ECS OCSF SEMCONV

Each argument is a Git repository: of elastic/ecs, ocsf/ocsf-schema and open-telemetry/semantic-conventions. The files
have the tags that netmon's modules name. Only facts are taken: names, types, allowed values, what is required.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from netmon.schemas import ecs, ocsf, otel

HERE = Path(__file__).parent
# The field sets of ECS that netmon uses.
FIELD_SETS = (
    *("@timestamp", "ecs", "event", "host", "network", "source", "destination", "process", "container", "error"),
    *("rule", "message", "tags", "orchestrator"),
)
FIELDS = ("tls.client.server_name",)  # single ones of other sets
# The namespaces of OpenTelemetry's attributes that netmon uses.
NAMESPACES = (
    *("client", "container", "error", "host", "k8s", "log", "network", "os", "process", "security_rule", "server"),
    "service",
)
BASE_EVENT, NETWORK_ACTIVITY = "events/base_event.json", ("network", "network_activity")
PROFILES = ("host", "container", "linux/linux_users")
# The attributes of OCSF that netmon writes. All others are left out, and so refused: with them a schema has no end.
USED = frozenset(
    "activity_id activity_name category_uid class_uid type_uid time start_time end_time duration count metadata "
    "severity_id status_id status_code status_detail device actor connection_info src_endpoint dst_endpoint traffic "
    "unmapped version uid product profiles log_name name vendor_name is_truncated hostname boot_uid type_id "
    "direction_id protocol_num protocol_name protocol_ver_id community_uid ip port interface_uid bytes bytes_in "
    "bytes_out process pid tid path file cmd_line created_time user euid group egid auid container "
    "parent_process ancestry pod_uuid orchestrator message".split()
)
OBJECTS_DEPTH = 6  # of objects in objects: a process has a parent


def show(repository: str, tag: str, path: str) -> str:
    """Return a file of a repository."""
    command = ["git", "-C", repository, "show", f"{tag}:{path}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def files(repository: str, tag: str, under: str) -> list[str]:
    command = ["git", "-C", repository, "ls-tree", "-r", "--name-only", tag, under]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def make_ecs(repository: str) -> dict[str, Any]:
    """Return the fields of ECS: the type of each, whether it is an array, and its values, if these are fixed."""
    flat = yaml.safe_load(show(repository, f"v{ecs.VERSION}", "generated/ecs/ecs_flat.yml"))
    return {
        name: {
            "type": field["type"],
            "array": "array" in field["normalize"],
            "values": [value["name"] for value in field.get("allowed_values", ())] or field.get("expected_values", []),
        }
        for name, field in flat.items()
        if name.split(".")[0] in FIELD_SETS or name in FIELDS
    }


class Ocsf:
    """Compiles classes of OCSF to JSON Schema: includes, inheritance and profiles are resolved."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._tag = f"v{ocsf.VERSION}"
        self._dictionary = self._load("dictionary.json")

    def _load(self, path: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(show(self._repository, self._tag, path))
        return loaded

    def _merged(self, *paths: str) -> tuple[dict[str, Any], list[str]]:
        """Return the attributes of classes or objects, the later ones over the earlier ones, and which need one."""
        attributes: dict[str, Any] = {}
        one_of: list[str] = []
        for path in paths:
            part = self._load(path)
            own = dict(part.get("attributes", {}))
            for profile in own.pop("$include", []):
                if profile.removeprefix("profiles/").removesuffix(".json") in PROFILES:
                    own = self._load(profile)["attributes"] | own
            for name, attribute in own.items():
                before = attributes.get(name, {})
                enum = {**before.get("enum", {}), **attribute.get("enum", {})}
                attributes[name] = {**before, **attribute, "enum": enum}
            one_of = part.get("constraints", {}).get("at_least_one", one_of)
        return attributes, one_of

    def event(self, *paths: str) -> dict[str, Any]:
        """Return the JSON Schema of a class. paths: of the classes that it extends, and its own."""
        schema = self._schema(*self._merged(*paths), 0)
        uid = self._load(paths[-1]).get("uid", 0)
        category = self._load("categories.json")["attributes"].get(self._load(paths[-2])["category"]) if uid else None
        number = category["uid"] if category else 0
        schema["properties"] |= {"class_uid": {"const": number * 1000 + uid}, "category_uid": {"const": number}}
        return schema

    def _ancestry(self, name: str) -> list[str]:
        path = f"objects/{name}.json"
        base = self._load(path).get("extends")
        return [*(self._ancestry(base) if base not in (None, "object") else []), path]

    def _object(self, name: str, depth: int) -> dict[str, Any]:
        if name == "object":
            return {"type": "object"}
        if depth > OBJECTS_DEPTH:
            return {"not": {}}
        attributes, one_of = self._merged(*self._ancestry(name))
        if name == "process":  # the Linux extension's
            attributes |= self._load("extensions/linux/profiles/linux_users.json")["attributes"]
        return self._schema(attributes, one_of, depth)

    def _schema(self, attributes: dict[str, Any], one_of: list[str], depth: int) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {},
            "required": sorted(name for name, one in attributes.items() if one.get("requirement") == "required"),
        }
        for name, attribute in sorted(attributes.items()):
            if name in USED:
                schema["properties"][name] = self._attribute(name, attribute, depth)
        if one_of:
            schema["anyOf"] = [{"required": [name]} for name in one_of]
        return schema

    def _attribute(self, name: str, attribute: dict[str, Any], depth: int) -> dict[str, Any]:
        entry = {**self._dictionary["attributes"][name], **attribute}
        enum = {**self._dictionary["attributes"][name].get("enum", {}), **attribute.get("enum", {})}
        kind = entry["type"]
        types = self._dictionary["types"]["attributes"]
        if kind in types:
            schema = _type(types, kind)
            if enum and schema["type"] == "integer":
                schema["enum"] = sorted(map(int, enum))
        else:
            schema = self._object(kind, depth + 1)
        return {"type": "array", "items": schema} if entry.get("is_array") else schema


def _type(types: dict[str, Any], kind: str) -> dict[str, Any]:
    plain = {"long_t": "integer"}.get(base := types[kind].get("type", kind), base.removesuffix("_t"))
    schema: dict[str, Any] = {"type": plain}
    if "regex" in types[kind] and kind != "ip_t":  # that one is no regular expression of ECMA's
        schema["pattern"] = types[kind]["regex"]
    if "range" in types[kind]:
        schema["minimum"], schema["maximum"] = types[kind]["range"]
    return schema


def make_otel(repository: str) -> dict[str, str]:
    """Return the attributes of OpenTelemetry's semantic conventions that are not deprecated, with their types."""
    tag = f"v{otel.VERSION}"
    found = {}
    for path in files(repository, tag, "model"):
        if not re.search(r"model/\w+/registry\.yaml$", path) or path.split("/")[1] not in NAMESPACES:
            continue
        content = yaml.safe_load(show(repository, tag, path))
        groups = content.get("groups") or [{"attributes": content.get("attributes", [])}]
        for attribute in (one for group in groups for one in group.get("attributes", ())):
            name = attribute.get("id") or attribute.get("key")
            kind = attribute["type"]
            if "deprecated" not in attribute:
                found[name] = kind if isinstance(kind, str) else "string"
    return dict(sorted(found.items()))


def main() -> None:
    """Write the files."""
    ecs_repository, ocsf_repository, otel_repository = sys.argv[1:]
    compiler = Ocsf(ocsf_repository)
    contents = {
        "ecs": make_ecs(ecs_repository),
        "ocsf": {
            "0": compiler.event(BASE_EVENT),
            "4001": compiler.event(BASE_EVENT, *(f"events/network/{name}.json" for name in NETWORK_ACTIVITY)),
        },
        "otel": make_otel(otel_repository),
    }
    for name, content in contents.items():
        (HERE / f"{name}.json").write_text(json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
