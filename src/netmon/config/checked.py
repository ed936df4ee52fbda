"""Configurations as plain data that has been checked: what a file or flags say, without pydantic.

`netmon run` reads its configuration with this alone: pydantic takes longer to import than all the rest, and its memory
would stay. The models (config/models.py) have the same keys, for programs and for the JSON Schema; what they read from
a file or a mapping is checked here. So each message is written once.
"""

# Without `from __future__ import annotations`: the checks are read from the annotations.

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

from netmon.config.checks import (
    EMPTY,
    EMPTY_LIST,
    check_amount,
    check_ancestors,
    check_cgroup,
    check_container_id,
    check_domain,
    check_event,
    check_field,
    check_id,
    check_interval,
    check_name,
    check_path,
    check_pid,
    check_prefix,
    check_text,
)
from netmon.config.cidr import check_ipv4, check_ipv6
from netmon.config.conflicts import conflicts_between, conflicts_in
from netmon.config.document import REFUSED, Document
from netmon.config.messages import (
    BOOL,
    LIST,
    MAPPING,
    NOT_TEXT,
    NUMBER,
    OF_GROUP,
    OF_USER,
    TEXT,
    WrongTypeError,
    describe,
    describe_unknown_key,
)
from netmon.config.netns import check_netns
from netmon.config.outputs import CHECKS as OUTPUT_CHECKS
from netmon.config.outputs import check_output_event, check_socket_path
from netmon.config.outputs import problem_of as problem_of_output
from netmon.config.ports import check_port
from netmon.config.rule_checks import (
    ACTIONS,
    SEVERITIES,
    UNMATCHED,
    check_condition,
    check_identifier,
    check_item,
    check_message_text,
    check_rule_name,
    check_tag,
    check_values,
)
from netmon.errors import ConfigError, Location, Problem
from netmon.report import OPTIONS, Report
from netmon.schemas import FORMATS

MAX_SECTIONS = 1000  # rules, macros or lists
MAX_UNKNOWN = 5  # keys at the top: a file with more of them is not a configuration

# What a network namespace that a configuration names is kept as. Raises ValueError if it cannot be used.
Resolve = Callable[[int | str], int | str]


class _FailedError(Exception):
    """A value was refused, and its problems are listed."""


class _Checker:
    """Checks one document."""

    def __init__(self, document: Document, resolve: Resolve | None) -> None:
        self.found = document.found
        self.resolve = resolve or (lambda item: item)

    def fail(self, location: Location, value: Any, error: ValueError, *, is_item: bool = False) -> _FailedError:
        self.found.add(location, partial(describe, value, error, is_item=is_item))
        return _FailedError()


# Checks a value at a location; lists its problems, and raises _FailedError then.
_Check = Callable[[_Checker, Any, Location], Any]


def _flag(checker: _Checker, value: Any, location: Location) -> bool:
    if not isinstance(value, bool):
        raise checker.fail(location, value, WrongTypeError(BOOL))
    return value


def _number(check: Callable[[int], int], of_name: str = "") -> Callable[[Any], int]:
    """Return the check of a number. of_name: what to say where there may be a name in place of it."""

    def check_number(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            is_name = isinstance(value, str) and value[:1].isalpha()
            raise WrongTypeError(NUMBER + of_name if is_name else NUMBER)
        return check(value)

    return check_number


def _text(check: Callable[[str], str]) -> Callable[[Any], str]:
    def check_text(value: Any) -> str:
        if not isinstance(value, str):
            raise WrongTypeError(TEXT)
        return check(value)

    return check_text


def _expect_list(checker: _Checker, value: Any, location: Location) -> None:
    """Refuse what is no list."""
    if value is None:
        raise checker.fail(location, value, ValueError(EMPTY))
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise checker.fail(location, value, WrongTypeError(LIST))


def _all_items(checker: _Checker, value: Any, location: Location, checked: list[Any] | None) -> tuple[Any, ...]:
    """Return a list's items; refuse an empty list. checked: the items; None if one of them was refused."""
    if checked is None:
        raise _FailedError
    if not checked:
        raise checker.fail(location, value, ValueError(EMPTY_LIST))
    return tuple(checked)


def _list_of(check: Callable[[Any], Any], *, resolved: bool = False) -> _Check:
    """Return the check of a list. check: that of an item; resolved: items are network namespaces."""

    def check_list(checker: _Checker, value: Any, location: Location) -> tuple[Any, ...]:
        _expect_list(checker, value, location)
        checked, failed = [], False
        for i, item in enumerate(value):  # there may be millions
            if item is REFUSED:
                failed = True
                continue
            try:
                checked.append(checker.resolve(check(item)) if resolved else check(item))
            except ValueError as error:
                failed = True
                checker.fail((*location, i), item, error, is_item=True)
        return _all_items(checker, value, location, None if failed else checked)

    return check_list


def _one_of(*choices: str) -> _Check:
    """Return the check of text that is one of few."""
    *others, last = choices

    def check_choice(checker: _Checker, value: Any, location: Location) -> str:
        if not (isinstance(value, str) and value in choices):
            raise checker.fail(location, value, WrongTypeError(f"must be {', '.join(others)} or {last}"))
        return value

    return check_choice


def _value(check: Callable[[Any], Any]) -> _Check:
    """Return the check of a single value. check: as of an item of a list."""

    def check_value(checker: _Checker, value: Any, location: Location) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise checker.fail(location, value, error) from None

    return _given(check_value)


def _given(check: _Check) -> _Check:
    """Return a check that refuses a key without a value by saying so."""

    def check_given(checker: _Checker, value: Any, location: Location) -> Any:
        if value is None:
            raise checker.fail(location, value, ValueError(EMPTY))
        return check(checker, value, location)

    return check_given


def _section(kind: type[Any]) -> _Check:
    """Return the check of a section. kind: its class."""

    def check_section(checker: _Checker, value: Any, location: Location) -> Any:
        if value is None:
            raise checker.fail(location, value, ValueError(EMPTY))
        return _check_mapping(checker, kind, value, location)

    return check_section


def _sections(kind: type[Any]) -> _Check:
    """Return the check of a list of sections. kind: their class."""

    def check_sections(checker: _Checker, value: Any, location: Location) -> tuple[Any, ...]:
        _expect_list(checker, value, location)
        if len(value) > MAX_SECTIONS:
            raise checker.fail(location, value, ValueError(f"has {len(value):,} items; the most are {MAX_SECTIONS:,}"))
        checked, failed = [], False
        for i, item in enumerate(value):
            try:
                if item is REFUSED:
                    raise _FailedError
                checked.append(_check_mapping(checker, kind, item, (*location, i)))
            except _FailedError:
                failed = True
        return _all_items(checker, value, location, None if failed else checked)

    return check_sections


def _check_mapping(checker: _Checker, kind: type[Any], value: Any, location: Location) -> Any:
    """Check a mapping's values, and that it has no other keys than its class."""
    if not isinstance(value, Mapping):
        raise checker.fail(location, value, WrongTypeError(MAPPING))
    checks = CHECKS[kind]
    checked, failed = {}, False
    for key, check in checks.items():
        if key in value:
            try:
                if value[key] is REFUSED:
                    raise _FailedError
                checked[key] = check(checker, value[key], (*location, key))
            except _FailedError:
                failed = True
    for key in [key for key in value if key not in checks]:
        failed = True
        if isinstance(key, str):
            inside = (*location, key)
            checker.found.add(inside, partial(describe_unknown_key, inside, list(checks)))
        else:
            part = int(key) if isinstance(key, int) else str(key)
            checker.fail((*location, part), part, WrongTypeError(NOT_TEXT))
    if missing := [key for key in REQUIRED.get(kind, ()) if key not in value]:
        raise checker.fail(location, None, ValueError(f"has no {' and no '.join(missing)}; add it"))
    if failed:
        raise _FailedError
    needed = NEEDS_ONE_OF.get(kind)
    if needed and not checked.keys() & needed:
        reason = f"is empty; give at least one of {', '.join(needed)}, or leave it out"
        raise checker.fail(location, {}, ValueError(reason))
    if kind is CheckedOutput and (problem := problem_of_output(checked)) is not None:
        key, reason = problem
        checker.found.add(
            (*location, key) if key in checked else location, f"{'' if key in checked else f'{key} '}{reason}"
        )
        raise _FailedError
    return kind(**checked)


Texts = tuple[str, ...] | None
Numbers = tuple[int, ...] | None
Mixed = tuple[int | str, ...] | None


class CheckedList(NamedTuple):
    """As netmon.config.models.NamedList."""

    list: Annotated[str, _given(_value(check_identifier))] = ""
    items: Annotated[Mixed, _list_of(check_item)] = None


class CheckedMacro(NamedTuple):
    """As netmon.config.models.Macro."""

    macro: Annotated[str, _given(_value(check_identifier))] = ""
    condition: Annotated[str, _given(_value(check_condition))] = ""


class CheckedExample(NamedTuple):
    """As netmon.config.models.Example."""

    matches: Annotated[dict[str, Any] | None, _given(_value(check_values))] = None
    misses: Annotated[dict[str, Any] | None, _given(_value(check_values))] = None


class CheckedRule(NamedTuple):
    """As netmon.config.models.Rule."""

    rule: Annotated[str, _given(_value(check_rule_name))] = ""
    when: Annotated[str | None, _value(check_condition)] = None
    scope: Annotated[str | None, _value(check_condition)] = None
    event: Annotated[str | None, _value(check_condition)] = None
    severity: Annotated[str, _one_of(*SEVERITIES)] = SEVERITIES[0]
    tags: Annotated[Texts, _list_of(_text(check_tag))] = None
    message: Annotated[str | None, _value(_text(check_message_text))] = None
    action: Annotated[str, _one_of(*ACTIONS)] = ACTIONS[0]
    tests: Annotated[tuple[CheckedExample, ...] | None, _sections(CheckedExample)] = None


class CheckedIpv4Filter(NamedTuple):
    """As netmon.config.Ipv4Filter."""

    deny_list: Annotated[bool, _flag] = False
    match: Annotated[str, _one_of("any", "all")] = "any"
    src_ip: Annotated[Texts, _list_of(check_ipv4)] = None
    dst_ip: Annotated[Texts, _list_of(check_ipv4)] = None


class CheckedIpv6Filter(NamedTuple):
    """As netmon.config.Ipv6Filter."""

    deny_list: Annotated[bool, _flag] = False
    match: Annotated[str, _one_of("any", "all")] = "any"
    src_ip: Annotated[Texts, _list_of(check_ipv6)] = None
    dst_ip: Annotated[Texts, _list_of(check_ipv6)] = None


class CheckedPortFilter(NamedTuple):
    """As netmon.config.PortFilter."""

    deny_list: Annotated[bool, _flag] = False
    match: Annotated[str, _one_of("any", "all")] = "any"
    src_port: Annotated[Mixed, _list_of(check_port)] = None
    dst_port: Annotated[Mixed, _list_of(check_port)] = None


class CheckedNetnsFilter(NamedTuple):
    """As netmon.config.NetnsFilter."""

    deny_list: Annotated[bool, _flag] = False
    netns: Annotated[Mixed, _list_of(check_netns, resolved=True)] = None


class CheckedNameFilter(NamedTuple):
    """As netmon.config.NameFilter."""

    deny_list: Annotated[bool, _flag] = False
    domain: Annotated[Texts, _list_of(_text(check_domain))] = None


class CheckedDirection(NamedTuple):
    """As netmon.config.Direction."""

    enabled: Annotated[bool, _flag] = False
    ipv4_filter: Annotated[CheckedIpv4Filter | None, _section(CheckedIpv4Filter)] = None
    ipv6_filter: Annotated[CheckedIpv6Filter | None, _section(CheckedIpv6Filter)] = None
    port_filter: Annotated[CheckedPortFilter | None, _section(CheckedPortFilter)] = None
    rules: Annotated[tuple[CheckedRule, ...] | None, _sections(CheckedRule)] = None


class CheckedBinaryFilter(NamedTuple):
    """As netmon.config.BinaryFilter."""

    name: Annotated[Texts, _list_of(_text(check_name))] = None
    prefix: Annotated[Texts, _list_of(_text(check_prefix))] = None
    path: Annotated[Texts, _list_of(_text(check_path))] = None
    comm: Annotated[Texts, _list_of(_text(check_name))] = None


class CheckedProcessFilter(NamedTuple):
    """As netmon.config.ProcessFilter."""

    deny_list: Annotated[bool, _flag] = False
    uid: Annotated[Numbers, _list_of(_number(check_id, OF_USER))] = None
    euid: Annotated[Numbers, _list_of(_number(check_id, OF_USER))] = None
    auid: Annotated[Numbers, _list_of(_number(check_id, OF_USER))] = None
    gid: Annotated[Numbers, _list_of(_number(check_id, OF_GROUP))] = None
    binary: Annotated[CheckedBinaryFilter | None, _section(CheckedBinaryFilter)] = None
    cgroup: Annotated[Texts, _list_of(_text(check_cgroup))] = None
    container_id: Annotated[Texts, _list_of(_text(check_container_id))] = None
    pid: Annotated[Numbers, _list_of(_number(check_pid))] = None
    descendants: Annotated[Numbers, _list_of(_number(check_pid))] = None


class CheckedOutput(NamedTuple):
    """As netmon.config.run.RunOutput."""

    type: Annotated[str | None, _value(OUTPUT_CHECKS["type"])] = None
    path: Annotated[str | None, _value(OUTPUT_CHECKS["path"])] = None
    format: Annotated[str | None, _value(OUTPUT_CHECKS["format"])] = None
    events: Annotated[Texts, _list_of(check_output_event)] = None
    rotate_size: Annotated[str | None, _value(OUTPUT_CHECKS["rotate_size"])] = None
    rotate_every: Annotated[str | None, _value(OUTPUT_CHECKS["rotate_every"])] = None
    keep: Annotated[int | None, _value(OUTPUT_CHECKS["keep"])] = None
    compress: Annotated[str | None, _value(OUTPUT_CHECKS["compress"])] = None
    mode: Annotated[str | None, _value(OUTPUT_CHECKS["mode"])] = None
    group: Annotated[str | None, _value(OUTPUT_CHECKS["group"])] = None


class CheckedRun(NamedTuple):
    """As netmon.config.run.Run."""

    aggregate: Annotated[str | None, _value(partial(check_amount, "aggregate"))] = None
    lost_events: Annotated[bool | None, _given(_flag)] = None
    argv: Annotated[bool | None, _given(_flag)] = None
    ring_size: Annotated[str | None, _value(partial(check_amount, "ring_size"))] = None
    batch_delay: Annotated[str | None, _value(partial(check_amount, "batch_delay"))] = None
    line_limit: Annotated[str | None, _value(partial(check_amount, "line_limit"))] = None
    record: Annotated[str | None, _value(_text(check_text))] = None
    record_limit: Annotated[str | None, _value(partial(check_amount, "record_limit"))] = None
    any_kernel: Annotated[bool | None, _given(_flag)] = None
    user: Annotated[str | None, _value(_text(check_text))] = None
    confine: Annotated[bool | None, _given(_flag)] = None
    format: Annotated[str | None, _given(_one_of(*FORMATS))] = None
    fields: Annotated[Texts, _list_of(_text(check_field))] = None
    template: Annotated[str | None, _value(_text(check_text))] = None
    each: Annotated[bool | None, _given(_flag)] = None
    color: Annotated[bool | None, _given(_flag)] = None
    outputs: Annotated[tuple[CheckedOutput, ...] | None, _sections(CheckedOutput)] = None
    control: Annotated[str | None, _value(check_socket_path)] = None
    control_group: Annotated[str | None, _value(OUTPUT_CHECKS["group"])] = None
    metrics: Annotated[bool | None, _given(_flag)] = None

    def values(self) -> dict[str, Any]:
        """Return the settings that are given, as the flags of the same names have them."""
        from netmon.config.run_values import values_of  # seldom needed

        return values_of(self._asdict())


class CheckedConfig(NamedTuple):
    """As netmon.config.Config. With a Resolve, netns_filter has what that returns."""

    ingress: Annotated[CheckedDirection, _section(CheckedDirection)] = CheckedDirection()
    egress: Annotated[CheckedDirection, _section(CheckedDirection)] = CheckedDirection()
    netns_filter: Annotated[CheckedNetnsFilter | None, _section(CheckedNetnsFilter)] = None
    process_filter: Annotated[CheckedProcessFilter | None, _section(CheckedProcessFilter)] = None
    name_filter: Annotated[CheckedNameFilter | None, _section(CheckedNameFilter)] = None
    lists: Annotated[tuple[CheckedList, ...] | None, _sections(CheckedList)] = None
    macros: Annotated[tuple[CheckedMacro, ...] | None, _sections(CheckedMacro)] = None
    rules: Annotated[tuple[CheckedRule, ...] | None, _sections(CheckedRule)] = None
    unmatched: Annotated[str, _one_of(*UNMATCHED)] = UNMATCHED[0]
    report: Annotated[Report, _section(Report)] = Report()
    run: Annotated[CheckedRun | None, _section(CheckedRun)] = None

    @property
    def has_rules(self) -> bool:
        """Whether there are rules."""
        return bool(self.rules or self.ingress.rules or self.egress.rules)


# The checks of each section's keys.
CHECKS: dict[type[Any], dict[str, _Check]] = {
    Report: {
        **dict.fromkeys(OPTIONS, _flag),
        "ancestors": _value(check_ancestors),
        "progress": _value(check_interval),
        "events": _list_of(_text(check_event)),
    },
    **{
        kind: {name: annotation.__metadata__[0] for name, annotation in kind.__annotations__.items()}
        for kind in (
            *(CheckedConfig, CheckedDirection, CheckedIpv4Filter, CheckedIpv6Filter, CheckedPortFilter),
            *(CheckedNetnsFilter, CheckedProcessFilter, CheckedBinaryFilter, CheckedNameFilter, CheckedRun),
            *(CheckedOutput, CheckedList, CheckedMacro, CheckedRule, CheckedExample),
        )
    },
}
# The keys that a section must have.
REQUIRED: dict[type[Any], tuple[str, ...]] = {
    CheckedList: ("list", "items"),
    CheckedMacro: ("macro", "condition"),
    CheckedRule: ("rule",),
}
# The sections that say nothing without at least one of these keys.
NEEDS_ONE_OF: dict[type[Any], list[str]] = {
    kind: [name for name in kind._fields if name not in ("deny_list", "match")]
    for kind in (
        *(CheckedIpv4Filter, CheckedIpv6Filter, CheckedPortFilter, CheckedNetnsFilter),
        *(CheckedProcessFilter, CheckedBinaryFilter, CheckedNameFilter, CheckedExample),
    )
}


def check_document(document: Document, resolve: Resolve | None = None) -> CheckedConfig:
    """Check a configuration.

    Args:
        document: Its data.
        resolve: Is called with each network namespace that it names, and returns what to keep it as. None keeps paths
            that need not exist now.

    Returns:
        The configuration.

    Raises:
        ConfigError: It has problems; the error lists all of them.
    """
    checker = _Checker(document, resolve)
    found = document.found
    config = None
    if isinstance(document.data, Mapping):
        _refuse_another_file(document)
        try:
            config = _check_mapping(checker, CheckedConfig, document.data, ())
        except _FailedError:
            conflicts = conflicts_in(document, may_enable=bool(_unknown_in(document.data)))
        else:
            conflicts = conflicts_between(
                {"ingress": config.ingress.enabled, "egress": config.egress.enabled},
                config.report,
                has_name_filter=config.name_filter is not None,
            )
            if config.has_rules or config.lists or config.macros:
                from netmon.rules.load import check_rules  # most configurations have none

                check_rules(config, document)
        for location, message in conflicts:
            found.add(location, message)
    elif document.data is None:
        found.add((), "is empty; enable ingress, egress or both")
    else:
        found.add((), "must be a mapping with keys like ingress and egress")
    if found or config is None:
        raise ConfigError(document.problems)
    return config  # type: ignore[no-any-return]


def _refuse_another_file(document: Document) -> None:
    """Refuse a file that may be anything, also something that not everyone may read: its keys are not repeated."""
    unknown = _unknown_in(document.data)
    refused = [finding for finding in document.found.listed() if not finding.location]
    if len(unknown) + len(refused) > MAX_UNKNOWN:
        keys = ", ".join(CheckedConfig._fields)
        message = f"is not a configuration of netmon, whose keys are {keys}; give the right file"
        raise ConfigError([Problem(document.source, None, (), None, message)])


def _unknown_in(data: Mapping[Any, Any]) -> set[Any]:
    """Return the keys at the top that no configuration has or had."""
    return data.keys() - {*CheckedConfig._fields, *OPTIONS}
