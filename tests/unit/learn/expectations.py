"""Expectations as configurations, and what they say of events."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from orjson import dumps, loads

from netmon.config import Config
from netmon.learn.drift import Drift
from netmon.learn.learner import Learner
from netmon.learn.write import write_expectation
from netmon.rules.events import JsonRules
from tests.support.rule_evaluator import Json


def learned(events: Iterable[Json]) -> Learner:
    learner = Learner()
    for event in events:
        learner.add(event)
    return learner


def expectation(events: Iterable[Json]) -> str:
    return write_expectation(learned(events))


def config_of(text: str) -> Config:
    """Return the configuration that a text is. Raises ConfigError."""
    with TemporaryDirectory() as directory:
        file = Path(directory, "expected.yaml")
        file.write_text(text)
        return Config.from_yaml(file)


def drift_of(text: str, events: Iterable[Json]) -> tuple[Drift, list[Json]]:
    """Return what an expectation says of events, and those that it reports."""
    config, drift = config_of(text), Drift()
    rules = JsonRules(config) if config.has_rules else None
    lines = [(f"{dumps(event).decode()}\n", event) for event in events]
    reported = [line if rules is None else rules.line(line, event) for line, event in lines]
    return drift, [loads(line) for line in drift.mark([line for line in reported if line is not None])]
