"""What a reload cannot change, and what is needed where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from netmon.config import Config
from netmon.filters.compile import compile_filters
from netmon.report import OPTIONS
from tests.unit.filters.evaluator import ON


def test_what_a_reload_cannot_change_is_named_by_its_keys() -> None:
    before, after = (
        compile_filters(Config.from_dict(config)).watched
        for config in (
            {
                "egress": ON,
                "process_filter": {"descendants": [1]},
                "report": {"outcome": True, "parent": True, "names": True, "sni": True},
            },
            {
                "ingress": ON,
                "process_filter": {"pid": [1]},
                "report": {
                    **dict.fromkeys(OPTIONS, True),
                    "outcome": False,
                    "names": False,
                    "sni": False,
                    "events": ["close"],
                },
            },
        )
    )
    lists = ["process_filter.pid", "process_filter.descendants"]
    others = [f"report.{name}" for name in OPTIONS if name != "parent"]
    assert before.differences(after) == ["ingress.enabled", "egress.enabled", *others, "report.events", *lists]
    assert before.differences(before) == []


@pytest.mark.parametrize(
    ("config", "configured"),
    [
        ({"ingress": ON, "egress": ON, "report": {"outcome": True}}, False),
        ({"egress": ON}, False),
        ({"egress": {**ON, "port_filter": {"dst_port": [443]}}}, True),
        ({"egress": ON, "netns_filter": {"netns": [1]}}, True),
        ({"egress": ON, "process_filter": {"pid": [1]}}, True),
    ],
)
def test_a_run_for_good_without_filters_needs_no_code_that_filters(config: dict[str, Any], configured: bool) -> None:
    filters = compile_filters(Config.from_dict(config))
    assert filters.configured  # a reload may add filters
    assert filters.for_good() == filters._replace(configured=configured)
