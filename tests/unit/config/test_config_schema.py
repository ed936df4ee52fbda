"""The JSON Schema of configurations."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from netmon.config import (
    config_schema,
)
from tests.unit.config.documents import (
    REFERENCE_BOTH,
    REFERENCE_CLUSTER,
    problems_in,
    with_value,
)


def test_the_schema_is_valid_and_describes_each_key() -> None:
    schema = config_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert part["additionalProperties"] is False
        assert None not in [value.get("default", 0) for value in part["properties"].values()]
        assert [key for key, value in part["properties"].items() if "description" not in value] == []


@pytest.mark.parametrize("text", [REFERENCE_BOTH, REFERENCE_CLUSTER])
def test_the_schema_accepts_the_reference_examples(text: str) -> None:
    Draft202012Validator(config_schema()).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("other", 1),
        ("ingress.other", 1),
        ("ingress.ipv4_filter.other", ["10.0.0.0/8"]),
        ("egress.ipv6_filter.other", ["::1"]),
        ("process_filter.other", 1),
        ("process_filter.binary.other", ["x"]),
        ("egress.enabled", "yes"),
        ("statistics", True),
        ("egress.outcome", True),
        ("report", None),
        ("report.other", True),
        ("report.statistics", "yes"),
        ("report.opener", 1),
        ("report.parent", "true"),
        ("report.context", None),
        ("egress.ipv4_filter", None),
        ("egress.ipv4_filter.src_ip", "10.0.0.0/8"),
        ("egress.ipv4_filter.src_ip", []),
        ("egress.ipv4_filter.src_ip", [10]),
        ("egress.ipv4_filter.src_ip", None),
        ("ingress.port_filter", {"ports": [1]}),
        ("ingress.port_filter.src_port", [65536]),
        ("ingress.port_filter.src_port", [True]),
        ("ingress.port_filter.src_port", ["443"]),
        ("netns_filter.netns", [0]),
        ("netns_filter.netns", ["blue"]),
        ("process_filter.cgroup", [7]),
        ("process_filter.container_id", []),
        ("process_filter.container_id", ["web"]),
        ("process_filter.uid", [-1]),
        ("process_filter.uid", [2**32]),
        ("process_filter.uid", ["0"]),
        ("process_filter.uid", [True]),
    ],
)
def test_the_schema_and_the_models_refuse_the_same(path: str, value: Any) -> None:
    data = with_value(path, value)
    assert not Draft202012Validator(config_schema()).is_valid(data)
    assert problems_in(data)
