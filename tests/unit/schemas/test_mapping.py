"""What becomes of an event in each schema: who asked whom, what happened, how much was carried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netmon.schemas import ecs, ocsf, otel
from netmon.schemas.host import Host
from tests.support.json_lines import CLIENT, SERVER, TIME
from tests.unit.schemas.events import HOST, LINES, render


def attributes_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the only record of a LogsData, as plain values."""
    (record,) = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    return {attribute["key"]: plain(attribute["value"]) for attribute in record["attributes"]}


def plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [plain(item) for item in content["values"]]
    if kind == "kvlistValue":
        return {item["key"]: plain(item["value"]) for item in content["values"]}
    return content


def test_the_source_is_who_asked() -> None:
    asked, was_asked = {"ip": CLIENT, "port": 40122}, {"ip": SERVER, "port": 443}
    documents = render("ecs")
    for name, (source, destination) in {
        "close": (asked, was_asked),
        "close of accepted": (was_asked, asked),  # by a peer
        "existing": (was_asked, asked),
        "fail": (asked, was_asked),
    }.items():
        document = documents[name]
        assert {key: document["source"][key] for key in source} == source, name
        assert {key: document["destination"][key] for key in destination} == destination, name
        other = render("ocsf")[name]
        assert (other["src_endpoint"], other["dst_endpoint"]) == (
            {**source, **({"interface_uid": "2"} if source is asked and name == "existing" else {})},
            {**destination, **({"interface_uid": "2"} if name == "existing" else {})},
        ), name
    directions = {
        name: document["network"]["direction"] for name, document in documents.items() if "network" in document
    }
    assert directions["close"] == "egress" and directions["close of accepted"] == "ingress"
    assert directions["close of unknown"] == "unknown" and directions["ingress flow"] == "ingress"


def test_what_was_asked_has_the_name_that_the_process_was_told_and_no_guess() -> None:
    told, guessed = "named", "guessed"
    ecs_, ocsf_, otel_ = (render(schema) for schema in ("ecs", "ocsf", "otel"))
    assert ecs_[told]["destination"]["domain"] == "told.example"
    assert ocsf_[told]["dst_endpoint"]["hostname"] == "told.example"
    assert attributes_of(otel_[told])["server.address"] == "told.example"
    assert "domain" not in ecs_[guessed]["destination"]
    assert "hostname" not in ocsf_[guessed]["dst_endpoint"]
    assert attributes_of(otel_[guessed])["server.address"] == SERVER
    assert ecs_[guessed]["netmon"]["names"][0]["name"] == "guessed.example"  # nothing is dropped


def test_otel_leaves_out_roles_that_are_not_known() -> None:
    documents = {name: attributes_of(document) for name, document in render("otel").items()}
    accepted, unknown = documents["close of accepted"], documents["close of unknown"]
    assert (accepted["client.address"], accepted["server.port"]) == (SERVER, 40122)
    assert accepted["network.local.address"] == unknown["network.local.address"] == CLIENT
    assert not {"client.address", "server.address", "netmon.direction"} & unknown.keys()


def test_bytes_are_those_that_each_end_has_sent() -> None:
    close, accepted = (render("ecs")[name] for name in ("close", "close of accepted"))
    assert [close[end]["bytes"] for end in ("source", "destination", "network")] == [137, 853_000, 853_137]
    assert [accepted[end]["bytes"] for end in ("source", "destination")] == [853_000, 137]
    traffic = render("ocsf")["close of accepted"]["traffic"]
    assert (traffic["bytes_out"], traffic["bytes_in"]) == (853_000, 137)
    assert traffic["end_time"] - traffic["start_time"] == 91
    progress = render("ocsf")["progress"]["traffic"]  # since the one before
    assert (progress["bytes_in"], progress["end_time"] - progress["start_time"]) == (2_000_000, 2000)


@pytest.mark.parametrize(
    ("name", "action", "outcome", "activity", "event"),
    [
        ("establish", "connection-requested", None, ocsf.OPEN, "open"),
        ("established", "connection-established", "success", ocsf.OPEN, "open"),
        ("accept", "connection-accepted", "success", ocsf.OPEN, "open"),
        ("fail", "connection-failed", "failure", ocsf.REFUSE, "fail"),
        ("fail without errno", "connection-failed", "failure", ocsf.FAIL, "fail"),
        ("existing", "connection-existing", None, ocsf.OTHER, "existing"),
        ("progress", "connection-progress", None, ocsf.TRAFFIC, "progress"),
        ("close", "connection-closed", None, ocsf.CLOSE, "close"),
        ("close of accepted", "connection-closed", None, ocsf.RESET, "close"),
        ("egress flow", "connections-aggregated", None, ocsf.TRAFFIC, "summary"),
    ],
)
def test_what_happened(name: str, action: str, outcome: str | None, activity: int, event: str) -> None:
    about = render("ecs")[name]["event"]
    assert (about["action"], about.get("outcome")) == (action, outcome)
    document = render("ocsf")[name]
    assert (document["class_uid"], document["type_uid"]) == (4001, 400100 + activity)
    assert document.get("status_id", 0) == {None: 0, "success": 1, "failure": 2}[outcome]
    (record,) = render("otel")[name]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record["eventName"] == f"netmon.connection.{event}"
    assert record["severityText"] == ("WARN" if outcome == "failure" else "INFO")


def test_losses_are_no_connection() -> None:
    ecs_losses, ocsf_losses = render("ecs")["losses"], render("ocsf")["losses"]
    assert (ecs_losses["event"]["kind"], ecs_losses["event"]["action"]) == ("metric", "events-lost")
    assert ecs_losses["netmon"]["lost_events"]["ring_full"] == 3 and "category" not in ecs_losses["event"]
    assert (ocsf_losses["class_uid"], ocsf_losses["unmapped"]["lost_events"]["count"]) == (0, 3)
    assert attributes_of(render("otel")["losses"])["netmon.lost_events.outputs"] == {"file": 2}


def test_what_events_lack_is_added() -> None:
    document = render("ecs")["close"]
    assert document["host"] == {
        "name": "web1",
        "hostname": "web1",
        "id": HOST.id,
        "boot": {"id": HOST.boot_id},
        "os": {"type": "linux"},
    }
    process = document["process"]
    assert (process["args"], process["args_count"]) == (["curl", "-s", "http://192.0.2.10/"], 3)
    assert process["command_line"] == "curl -s http://192.0.2.10/"
    assert process["thread"]["capabilities"]["effective"] == ["CAP_NET_RAW", "CAP_SYS_ADMIN"]
    permitted = process["thread"]["capabilities"]["permitted"]
    assert (permitted[0], permitted[-1], len(permitted)) == ("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", 41)
    assert document["event"]["start"] == "2026-11-29T15:42:39.741Z"
    assert render("ocsf")["close"]["actor"]["process"]["cmd_line"] == "curl -s http://192.0.2.10/"
    assert attributes_of(render("otel")["close"])["process.command_args"][0] == "curl"


def test_arguments_that_are_no_list_are_netmons_own() -> None:
    document = render("ecs")["accept"]
    assert "args" not in document["process"] and document["netmon"]["process"]["args"] == "http://192.0.2.10/"
    assert render("ocsf")["accept"]["unmapped"]["process"]["args"] == "http://192.0.2.10/"
    assert attributes_of(render("otel")["accept"])["netmon.process.args"] == "http://192.0.2.10/"


def test_ids_tell_events_and_processes_apart() -> None:
    documents = render("ecs")
    ids = {document["event"]["id"] for document in documents.values()}
    assert len(ids) == len({*LINES.values()})
    assert {document["metadata"]["uid"] for document in render("ocsf").values()} == ids
    assert {attributes_of(document)["log.record.uid"] for document in render("otel").values()} == ids
    elsewhere = render("ecs", HOST._replace(boot_id="another"))["close"]
    assert elsewhere["event"]["id"] != documents["close"]["event"]["id"]
    assert elsewhere["process"]["entity_id"] != documents["close"]["process"]["entity_id"]
    assert documents["close"]["process"]["entity_id"] == documents["establish"]["process"]["entity_id"]
    assert "entity_id" not in render("ecs", Host())["close"]["process"]


def test_the_community_id_is_that_of_its_specification() -> None:
    """One of the pairs that the specification's own reference implementation lists."""
    line = json.loads(LINES["accept"])
    ends = {"saddr": "66.35.250.204", "sport": 80, "daddr": "128.232.110.120", "dport": 34855}
    line["network_event"] |= ends
    (document,) = render("ecs", one=json.dumps(line)).values()
    assert document["network"]["community_id"] == "1:LQU9qZlK+B5F3KDmev6m5PMibrg="


def test_versions_are_named() -> None:
    assert render("ecs")["accept"]["ecs"]["version"] == ecs.VERSION
    assert render("ocsf")["accept"]["metadata"]["version"] == ocsf.VERSION
    assert render("otel")["accept"]["resourceLogs"][0]["schemaUrl"].endswith(f"/{otel.VERSION}")
    assert render("ecs")["accept"]["@timestamp"] == TIME


def test_what_rules_say_has_its_place_in_each_schema() -> None:
    ecs, ocsf = render("ecs"), render("ocsf")
    ruled = ecs["ruled"]
    assert (ruled["event"]["kind"], ruled["event"]["severity"]) == ("alert", 4)
    assert (ruled["rule"], ruled["tags"]) == ({"name": "first", "ruleset": "netmon"}, ["T1059"])
    assert ruled["message"] == "what the rule says"
    assert ruled["netmon"]["rules"] == ["first", "second"]
    assert "message" not in ruled["netmon"]
    assert [ecs[name]["event"]["kind"] for name in ("named by rules", "not expected", "fail")] == [
        "event",
        "alert",
        "event",
    ]
    assert "rule" not in ecs["not expected"] and ecs["not expected"]["netmon"]["expected"] is False
    severities = [ocsf[name]["severity_id"] for name in ("ruled", "named by rules", "not expected", "fail")]
    assert severities == [4, 1, 1, 2]
    assert ocsf["ruled"]["message"] == "what the rule says"
    assert ocsf["ruled"]["unmapped"]["rules"] == ["first", "second"]
    records = [render("otel")[name]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0] for name in ("ruled", "fail")]
    assert [(record["severityNumber"], record["severityText"]) for record in records] == [(17, "ERROR"), (13, "WARN")]
    attributes = {one["key"]: one["value"] for one in records[0]["attributes"]}
    assert attributes["security_rule.name"] == {"stringValue": "first"}
    assert records[0]["body"] == {"stringValue": "what the rule says"}


def test_workloads_and_ancestors_have_the_fields_of_the_schemas() -> None:
    name = "establish"
    event = render("ecs")[name]
    assert event["orchestrator"] == {
        "type": "kubernetes",
        "namespace": "shop",
        "resource": {"type": "pod", "name": "web-1", "id": "7c1f2a34-0000-4000-8000-000000000001"},
    }
    assert event["container"] == {"id": "0" * 64, "name": "web", "image": {"name": "registry.example/web:1"}}
    assert event["netmon"]["process"]["workload"] == {"unit": "cri-containerd.scope", "user": "www-data"}
    assert event["process"]["parent"]["name"] == "systemd"
    found = attributes_of(render("otel")[name])
    assert (found["k8s.namespace.name"], found["k8s.pod.name"], found["k8s.container.name"]) == ("shop", "web-1", "web")
    assert found["container.image.name"] == "registry.example/web:1"
    assert found["netmon.process.workload.unit"] == "cri-containerd.scope"
    process = render("ocsf")[name]["actor"]["process"]
    assert process["container"] == {
        "uid": "0" * 64,
        "name": "web",
        "pod_uuid": "7c1f2a34-0000-4000-8000-000000000001",
        "orchestrator": "Kubernetes",
    }
    (ancestor,) = process["ancestry"]
    assert (ancestor["pid"], ancestor["name"]) == (1, "systemd")
