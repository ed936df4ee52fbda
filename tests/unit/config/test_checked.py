"""Configurations as plain data: the same keys, defaults and verdicts as those of the models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from netmon.config import Config
from netmon.config.checked import CHECKS, NEEDS_ONE_OF, REQUIRED, CheckedConfig, check_document
from netmon.config.document import document_of
from netmon.config.models import MODELS
from netmon.errors import ConfigError
from netmon.filters.compile import compile_filters
from netmon.report import OPTIONS, Report
from tests.support import strategies


@pytest.mark.parametrize("kind", MODELS)
def test_each_section_has_the_keys_and_defaults_of_its_model(kind: type[Any]) -> None:
    model = MODELS[kind]
    required = REQUIRED.get(kind, ())
    defaults = {
        name: kind()._asdict()[name] if name in required else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
    }
    plain = {
        name: MODELS[type(value)]() if type(value) in MODELS else value for name, value in kind()._asdict().items()
    }
    assert list(plain.items()) == list(defaults.items())
    assert list(CHECKS[kind]) == list(defaults)
    assert tuple(NEEDS_ONE_OF.get(kind, ())) == model.needs_one_of
    assert required == tuple(name for name, field in model.model_fields.items() if field.is_required())


def test_the_report_section_has_its_keys() -> None:
    assert tuple(CHECKS[Report]) == Report._fields == (*OPTIONS, "ancestors", "progress", "events")


@given(strategies.configs() | strategies.configs(names=True))
def test_it_compiles_to_the_same_filters(config: Config) -> None:
    checked = check_document(document_of(config.to_dict(), "test"))
    assert compile_filters(checked) == compile_filters(config)


def test_network_namespaces_are_kept_as_what_they_resolve_to() -> None:
    data = {"egress": {"enabled": True}, "netns_filter": {"netns": [7, "/blue", "/green"]}}
    numbers = {7: 7, "/blue": 8, "/green": 9}
    config = check_document(document_of(data, "test"), numbers.__getitem__)
    assert config.netns_filter is not None
    assert config.netns_filter.netns == (7, 8, 9)


def test_a_network_namespace_that_cannot_be_resolved_is_a_problem() -> None:
    def resolve(netns: int | str) -> int:
        raise ValueError(f"is no place for {type(netns).__name__}")

    data = {"egress": {"enabled": True}, "netns_filter": {"netns": ["/blue"]}}
    with pytest.raises(ConfigError, match=r"^test: netns_filter.netns\[0\]: '/blue' is no place for str$"):
        check_document(document_of(data, "test"), resolve)


def test_a_configuration_without_keys_has_the_defaults_of_the_command() -> None:
    assert not CheckedConfig().ingress.enabled
    assert CheckedConfig().report == Report()
