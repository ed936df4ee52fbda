"""Rules for tests: configurations that have them, and what is made of them."""

from __future__ import annotations

from typing import Any

from netmon.config.checked import CheckedConfig, check_document
from netmon.config.document import document_of
from netmon.config.yaml_reader import parse_yaml
from netmon.errors import ConfigError
from netmon.rules.judge import Judge
from netmon.rules.load import compile_rules
from netmon.rules.plain import pack_rules, unpack_rules

EVERYTHING = {
    **dict.fromkeys(("statistics", "outcome", "context", "parent", "existing", "names", "workload"), True),
    "progress": "30s",
    "ancestors": 4,
}


def config_of(*rules: dict[str, Any], **keys: Any) -> CheckedConfig:
    """Return a configuration with rules, in which events have all keys. Raises ConfigError."""
    both = {"ingress": {"enabled": True}, "egress": {"enabled": True}, "report": EVERYTHING}
    return check_document(document_of({**both, "rules": [*rules], **keys}, "rules.yaml"))


def judge_of(*rules: dict[str, Any], **keys: Any) -> Judge:
    """Return what judges events by rules, which have been handed over."""
    return Judge(unpack_rules(pack_rules(compile_rules(config_of(*rules, **keys)))))


def problems_of(*rules: dict[str, Any], **keys: Any) -> list[str]:
    """Return what is wrong with rules: the messages alone."""
    try:
        config_of(*rules, **keys)
    except ConfigError as error:
        return [problem.reason for problem in error.problems]
    return []


def problem_of(condition: str, **keys: Any) -> str:
    """Return what is wrong with a condition."""
    (problem,) = problems_of({"rule": "it", "when": condition}, **keys)
    return problem


def places_of(text: str) -> list[str]:
    """Return what is wrong with a file, as netmon prints it."""
    try:
        check_document(parse_yaml("rules.yaml", text.encode()))
    except ConfigError as error:
        return str(error).splitlines()
    return []
