"""Configurations for the tests of this package, and the problems that are found in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netmon.config import (
    Config,
)
from netmon.errors import ConfigError

ON = {"enabled": True}

REFERENCE_BOTH = """
ingress:
  enabled: true
egress:
  enabled: true
"""

REFERENCE_CLUSTER = """
egress:
  enabled: true
  ipv4_filter:
    deny_list: true
    dst_ip:
      - 10.0.0.0/8
      - 172.16.0.0/12
      - 192.168.0.0/16
      - 127.0.0.1
      - 0.0.0.0
  ipv6_filter:
    dst_ip:
      - 2000::/3
process_filter:
  binary:
    name:
      - curl
"""
# Most of what is in here is wrong.
BROKEN = """\
ingress:
  enabled: "yes"
  ipv4_filter: {}
egress:
  enabled: false
  ipv4_filter:
    dst_ip:
      - 10.0.0.0/8
      - ::1
      - 10.0.0.1/8
  ipv6_filter:
    src_ip: ["::ffff:1.2.3.4", "2000::/3"]
    dst_ip: []
process_filter:
  binray:
    name: [a]
  binary:
    path: [x]
  uid: [0]
  uid: [-1]
"""


def load(text: str | bytes) -> Config:
    """Write text to netmon.yaml and load that."""
    path = Path("netmon.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Config.from_yaml(path)


def lines_of(error: ConfigError) -> list[str]:
    """Return a line for each problem."""
    assert str(error) == "\n".join(map(str, error.problems))
    return [str(problem) for problem in error.problems]


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return lines_of(caught.value)


def problems_in(data: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(data, source="test")
    return lines_of(caught.value)


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return {"a": {"b": value}} for "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def with_value(path: str, value: Any) -> dict[str, Any]:
    """Return a configuration that is correct apart from the value at a path."""
    data = nested(path, value)
    for direction in ("ingress", "egress"):
        if isinstance(data.get(direction, {}), dict):
            data[direction] = {**ON, **data.get(direction, {})}
    return data


NEEDS_EGRESS = "needs egress.enabled: true; set it, or leave outcome out"
NOTHING_ENABLED = "nothing to watch; set ingress.enabled or egress.enabled to true"

NOT_A_NUMBER = "must be a whole number: decimal, without quotes"

NOT_ABSOLUTE = "does not begin with '/'; give the full path, or put a file name in name"

OUT_OF_RANGE = "is out of range; ids go from 0 to 4294967295"

EMPTY_LIST = "is an empty list, which nothing can match; add a value or leave it out"
