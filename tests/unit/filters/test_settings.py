"""The settings of the kernel half: which filters there are."""

from __future__ import annotations

from typing import Any

import pytest

from netmon.config import Config
from netmon.filters.compile import compile_filters
from netmon.filters.compiled import CompiledFilters, Watched
from netmon.layout import SETTINGS, FilterMode, Predicate
from tests.unit.filters.evaluator import Evaluator

OUT_OF_THE_CLUSTER = Config.from_dict(
    {
        "egress": {
            "enabled": True,
            "ipv4_filter": {
                "deny_list": True,
                "dst_ip": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1", "0.0.0.0"],
            },
            "ipv6_filter": {"dst_ip": ["2000::/3"]},
        }
    }
)


@pytest.mark.parametrize(
    ("process_filter", "settings"),
    [
        (None, {}),
        ({"uid": [0]}, {"mode": FilterMode.ALLOW, "all": Predicate.UID}),
        ({"euid": [0], "deny_list": True}, {"mode": FilterMode.DENY, "all": Predicate.EUID}),
        ({"auid": [0]}, {"mode": FilterMode.ALLOW, "all": Predicate.AUID}),
        ({"binary": {"name": ["x"]}}, {"mode": FilterMode.ALLOW, "any": Predicate.NAME}),
        ({"binary": {"prefix": ["/"]}}, {"mode": FilterMode.ALLOW, "any": Predicate.PREFIX}),
        ({"binary": {"path": ["/x"]}}, {"mode": FilterMode.ALLOW, "any": Predicate.PATH}),
        ({"binary": {"comm": ["x"]}}, {"mode": FilterMode.ALLOW, "any": Predicate.COMM}),
        ({"gid": [0]}, {"mode": FilterMode.ALLOW, "all": Predicate.GID}),
        ({"cgroup": ["/"]}, {"mode": FilterMode.ALLOW, "all": Predicate.CGROUP}),
        ({"container_id": ["0" * 12]}, {"mode": FilterMode.ALLOW, "all": Predicate.CONTAINER_ID}),
        ({"pid": [1]}, {"mode": FilterMode.ALLOW, "all": Predicate.FOLLOWED}),
        ({"descendants": [1], "deny_list": True}, {"mode": FilterMode.DENY, "all": Predicate.FOLLOWED}),
        ({"pid": [1], "descendants": [2]}, {"mode": FilterMode.ALLOW, "all": Predicate.FOLLOWED}),
        (
            {"uid": [0], "cgroup": ["/"], "binary": {"name": ["x"], "path": ["/x"]}},
            {
                "mode": FilterMode.ALLOW,
                "all": Predicate.UID | Predicate.CGROUP,
                "any": Predicate.NAME | Predicate.PATH,
            },
        ),
    ],
)
def test_settings_have_the_filters_and_lists_that_are_present(
    process_filter: dict[str, Any] | None, settings: dict[str, int]
) -> None:
    ingress = {"enabled": True, "ipv4_filter": {"src_ip": ["10.0.0.0/8"]}}
    config = {**OUT_OF_THE_CLUSTER.to_dict(), "ingress": ingress}
    if process_filter is not None:
        config["process_filter"] = process_filter
    expected = {
        "connection_filters_0_any": 1,
        "connection_filters_0_addresses_0_mode": FilterMode.ALLOW,
        "connection_filters_0_addresses_0_src": 1,
        "connection_filters_1_any": 1,
        "connection_filters_1_addresses_0_mode": FilterMode.DENY,
        "connection_filters_1_addresses_0_dst": 1,
        "connection_filters_1_addresses_1_mode": FilterMode.ALLOW,
        "connection_filters_1_addresses_1_dst": 1,
        **{f"process_filter_{key}": value for key, value in settings.items()},
    }
    compiled = Evaluator(compile_filters(Config.from_dict(config))).settings
    assert {key: value for key, value in compiled.items() if value} == expected


def test_without_filters_no_setting_is_set() -> None:
    filters = CompiledFilters(Watched(), bytes(SETTINGS.size))
    assert compile_filters(None) == filters
    assert compile_filters(Config.everything()) == filters._replace(configured=True)
