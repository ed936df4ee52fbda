"""The configuration's models: which connections to report, and what to report about them.

Config.from_yaml() and from_dict() check what they read as the command does (config/checked.py): they raise one
ConfigError with every problem, each with its place, the value and the remedy. Models that Python code builds raise
pydantic's ValidationError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    Strict,
    StrictBool,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import InitErrorDetails, core_schema

from netmon.amounts import duration_text
from netmon.config.checked import (
    CheckedBinaryFilter,
    CheckedConfig,
    CheckedDirection,
    CheckedExample,
    CheckedIpv4Filter,
    CheckedIpv6Filter,
    CheckedList,
    CheckedMacro,
    CheckedNameFilter,
    CheckedNetnsFilter,
    CheckedOutput,
    CheckedPortFilter,
    CheckedProcessFilter,
    CheckedRule,
    CheckedRun,
    check_document,
)
from netmon.config.conflicts import conflicts_between
from netmon.config.document import Document, document_of
from netmon.config.files import load_config
from netmon.config.netns import inode_of
from netmon.config.run import Run, RunOutput
from netmon.config.section import Section
from netmon.config.values import (
    Ancestors,
    Cgroup,
    Condition,
    ContainerId,
    Domain,
    EventName,
    ExampleValues,
    FullPath,
    Id,
    Identifier,
    Interval,
    Ipv4Cidrs,
    Ipv6Cidrs,
    Item,
    Items,
    ListOf,
    MessageTemplate,
    Name,
    Netns,
    Optionally,
    PathPrefix,
    Pid,
    Port,
    RuleName,
    refuse_none,
)
from netmon.errors import Location
from netmon.report import ANCESTORS_HELP, EVENTS_HELP, OPTIONS, PROGRESS_HELP, Report
from netmon.schema import schema_of

MATCH_HELP = "Whether either end is enough (any), or both must be in their lists (all)."


class _IpFilter(Section):
    needs_one_of = ("src_ip", "dst_ip")

    deny_list: StrictBool = Field(default=False, description="Report what does not match.")
    match: Literal["any", "all"] = Field(default="any", description=MATCH_HELP)


class Ipv4Filter(_IpFilter):
    """An IPv4 connection matches when its source OR its destination is in a list; with match: all, when both are."""

    src_ip: Ipv4Cidrs = Field(default=None, description="This host's end: addresses and CIDRs, like 10.0.0.0/8.")
    dst_ip: Ipv4Cidrs = Field(default=None, description="The peer's end: addresses and CIDRs, like 10.0.0.0/8.")


class Ipv6Filter(_IpFilter):
    """An IPv6 connection matches when its source OR its destination is in a list; with match: all, when both are."""

    src_ip: Ipv6Cidrs = Field(default=None, description="This host's end: addresses and CIDRs, like 2000::/3.")
    dst_ip: Ipv6Cidrs = Field(default=None, description="The peer's end: addresses and CIDRs, like 2000::/3.")


class PortFilter(Section):
    """A connection matches when its source OR its destination port is in a list; with match: all, when both are."""

    needs_one_of = ("src_port", "dst_port")

    deny_list: StrictBool = Field(default=False, description="Report what does not match.")
    match: Literal["any", "all"] = Field(default="any", description=MATCH_HELP)
    src_port: ListOf[Port] = Field(default=None, description="This host's end: ports, and ranges like 8000-8999.")
    dst_port: ListOf[Port] = Field(default=None, description="The peer's end: ports, and ranges like 8000-8999.")


class NetnsFilter(Section):
    """A connection matches when the network namespace of its socket is in the list."""

    needs_one_of = ("netns",)

    deny_list: StrictBool = Field(default=False, description="Report what does not match.")
    netns: ListOf[Netns] = Field(default=None, description="Inode numbers, and paths like /run/netns/NAME.")


class NameFilter(Section):
    """An outgoing connection matches when one of its names is in the list."""

    needs_one_of = ("domain",)

    deny_list: StrictBool = Field(default=False, description="Report what does not match.")
    domain: ListOf[Domain] = Field(
        default=None,
        description="Names, like api.github.com. In place of a label, * is any one, and ** one or more: **.github.com.",
    )


class NamedList(Section):
    """A list of values that conditions can name."""

    list: Identifier = Field(description="Its name.")
    items: Items[Item] = Field(description="Its values: texts and numbers.")


class Macro(Section):
    """A condition that others can name."""

    macro: Identifier = Field(description="Its name.")
    condition: Condition = Field(description="The condition, in the language of docs/rules.md.")


class Example(Section):
    """Values that a rule shall match, or not: `netmon rules check` tries them."""

    needs_one_of = ("matches", "misses")

    matches: ExampleValues | None = Field(default=None, description="Values of attributes that the rule shall match.")
    misses: ExampleValues | None = Field(default=None, description="Values of attributes that it shall not match.")


class Rule(Section):
    """A rule: events that match it have its name."""

    rule: RuleName = Field(description="Its name.")
    when: Optionally[Condition] = Field(default=None, description="The condition; without one everything matches.")
    scope: Optionally[Condition] = Field(default=None, description="A condition that must be true, too.")
    event: Optionally[Condition] = Field(default=None, description="A condition that must be true, too.")
    severity: Literal["info", "low", "medium", "high", "critical"] = Field(
        default="info", description="How much it matters."
    )
    tags: ListOf[RuleName] = Field(default=None, description="Words that its events have.")
    message: Optionally[MessageTemplate] = Field(
        default=None, description="A text that its events have, like '{process.filename} to {network_event.daddr}'."
    )
    action: Literal["report", "count", "drop"] = Field(
        default="report", description="Whether to report what matches, only to count it, or to leave it out."
    )
    tests: ListOf[Example] = Field(default=None, description="Examples, which `netmon rules check` tries.")


class Direction(Section):
    """One direction of connections. A family without a filter is not filtered."""

    enabled: StrictBool = Field(default=False, description="Report this direction.")
    ipv4_filter: Optionally[Ipv4Filter] = Field(
        default=None, description="Which IPv4 connections, IPv4-mapped ones among them."
    )
    ipv6_filter: Optionally[Ipv6Filter] = Field(default=None, description="Which IPv6 connections.")
    port_filter: Optionally[PortFilter] = Field(default=None, description="Which ports, of both families.")
    rules: ListOf[Rule] = Field(default=None, description="Rules for the connections of this direction alone.")


class BinaryFilter(Section):
    """An executable matches by its file name OR the beginning of its path OR its path OR the process's name."""

    needs_one_of = ("name", "prefix", "path", "comm")

    name: ListOf[Name] = Field(default=None, description="File names, like curl.")
    prefix: ListOf[PathPrefix] = Field(default=None, description="Leading parts of paths, like /usr/local/bin/.")
    path: ListOf[FullPath] = Field(default=None, description="Full paths, like /usr/bin/curl.")
    comm: ListOf[Name] = Field(
        default=None,
        description="Names of processes: what they were called by, a link's or a script's name too; 15 bytes count.",
    )


class ProcessFilter(Section):
    """A process matches when it matches every key that is given."""

    needs_one_of = ("uid", "euid", "auid", "gid", "binary", "cgroup", "container_id", "pid", "descendants")

    deny_list: StrictBool = Field(default=False, description="Report what does not match.")
    uid: ListOf[Id] = Field(default=None, description="Real user ids.")
    euid: ListOf[Id] = Field(default=None, description="Effective user ids.")
    auid: ListOf[Id] = Field(default=None, description="Audit (login) user ids; 4294967295: no login.")
    gid: ListOf[Id] = Field(default=None, description="Real group ids.")
    binary: Optionally[BinaryFilter] = Field(default=None, description="Which executables.")
    cgroup: ListOf[Cgroup] = Field(
        default=None, description="Paths of cgroups, like /system.slice. Cgroups below them match, too."
    )
    container_id: ListOf[ContainerId] = Field(
        default=None, description="Container ids: all 64 digits, or at least the first 12."
    )
    pid: ListOf[Pid] = Field(default=None, description="Ids of processes that run at the start.")
    descendants: ListOf[Pid] = Field(
        default=None,
        description="Ids of processes that run at the start: these, and all that they have started and will start.",
    )


_REPORT_FIELDS: dict[str, Any] = {
    name: (
        Annotated[Report.__annotations__[name], Strict()],
        Field(default, description=f"{option.help[0].upper()}{option.help[1:]}."),
    )
    for (name, option), default in zip(OPTIONS.items(), Report(), strict=False)
}
_REPORT_FIELDS["ancestors"] = (
    Optionally[Ancestors],  # type: ignore[misc]
    Field(default=None, description=f"{ANCESTORS_HELP[0].upper()}{ANCESTORS_HELP[1:]}."),
)
_REPORT_FIELDS["progress"] = (
    Optionally[Interval],  # type: ignore[misc]
    Field(default=None, description=f"{PROGRESS_HELP[0].upper()}{PROGRESS_HELP[1:]}."),
)
_REPORT_FIELDS["events"] = (
    ListOf[EventName],  # type: ignore[misc]
    Field(default=None, description=f"{EVENTS_HELP[0].upper()}{EVENTS_HELP[1:]}."),
)
_ReportSection = create_model("Report", __base__=Section, __doc__=Report.__doc__, **_REPORT_FIELDS)


def _plain_report(report: Report) -> dict[str, Any]:
    """Return the keys and values that from_dict() reads back."""
    values = report._asdict()
    for name in ("ancestors", "progress", "events"):
        if values[name] is None:
            del values[name]
    if report.progress is not None:
        values["progress"] = duration_text(report.progress)
    if report.events is not None:
        values["events"] = list(report.events)
    return values


def _report_schema(_source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    """Return the schema that reads a Report from a mapping of its keys, or from a Report."""

    def to_mapping(value: Any) -> Any:
        return _plain_report(value) if isinstance(value, Report) else value

    section = core_schema.no_info_before_validator_function(to_mapping, handler.generate_schema(_ReportSection))
    return core_schema.no_info_after_validator_function(
        lambda checked: Report(**dict(checked)),
        section,
        serialization=core_schema.plain_serializer_function_ser_schema(_plain_report),
    )


class Config(Section):
    """Which connections to report: by direction, endpoints, network namespace and process. And what to report."""

    ingress: Annotated[Direction, BeforeValidator(refuse_none)] = Field(
        default=Direction(), description="Connections that processes on this host accept."
    )
    egress: Annotated[Direction, BeforeValidator(refuse_none)] = Field(
        default=Direction(), description="Connections that processes on this host open."
    )
    netns_filter: Optionally[NetnsFilter] = Field(
        default=None, description="Which network namespaces, in both directions."
    )
    process_filter: Optionally[ProcessFilter] = Field(default=None, description="Which processes, in both directions.")
    name_filter: Optionally[NameFilter] = Field(
        default=None, description="Which names of peers, of outgoing connections; needs report.names."
    )
    lists: ListOf[NamedList] = Field(default=None, description="Lists of values that rules can name.")
    macros: ListOf[Macro] = Field(default=None, description="Conditions that rules can name.")
    rules: ListOf[Rule] = Field(default=None, description="Named rules: which events are worth knowing.")
    unmatched: Literal["drop", "report"] = Field(
        default="drop", description="If there are rules: what becomes of events that match none."
    )
    report: Annotated[Report, GetPydanticSchema(_report_schema), BeforeValidator(refuse_none)] = Field(
        default_factory=Report, description="What to report beyond the plain events."
    )
    run: Optionally[Run] = Field(default=None, description="Settings of `netmon run`, which are flags, too.")

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Config:
        enabled = {"ingress": self.ingress.enabled, "egress": self.egress.enabled}
        errors = [
            InitErrorDetails(type="value_error", loc=location, input=self.report, ctx={"error": ValueError(reason)})
            for location, reason in (
                *conflicts_between(enabled, self.report, has_name_filter=self.name_filter is not None),
                *self._rule_problems(),
            )
        ]
        if errors:
            raise ValidationError.from_exception_data("Config", errors)
        return self

    @property
    def has_rules(self) -> bool:
        """Whether there are rules."""
        return bool(self.rules or self.ingress.rules or self.egress.rules)

    def _rule_problems(self) -> list[tuple[Location, str]]:
        """Return the places and the reasons of what is wrong with the rules."""
        if not (self.has_rules or self.lists or self.macros):
            return []
        from netmon.rules.load import check_rules  # most configurations have none

        document = document_of({}, "configuration")
        check_rules(self, document)
        return [(problem.location, problem.message) for problem in document.problems]

    @classmethod
    def everything(cls) -> Config:
        """Return a configuration of both directions, without a filter."""
        return cls(ingress=Direction(enabled=True), egress=Direction(enabled=True))

    @classmethod
    def from_dict(cls, data: Any, source: str = "configuration", *, resolve: bool = False) -> Config:
        """Read a configuration from a mapping, as YAML would give it.

        Args:
            data: The mapping.
            source: What error messages call the configuration.
            resolve: Refuse paths of network namespaces that do not exist now. Otherwise the Monitor refuses them.

        Returns:
            The configuration.

        Raises:
            ConfigError: It has problems; the error lists all of them.
        """
        return _model_of(document_of(data, source), resolve)

    @classmethod
    def from_yaml(cls, path: str | Path, *, resolve: bool = False) -> Config:
        """Read a configuration from a YAML file and its drop-ins, or from the files of a directory.

        Args:
            path: The file, or the directory.
            resolve: Refuse paths of network namespaces that do not exist now. Otherwise the Monitor refuses them.

        Returns:
            The configuration.

        Raises:
            ConfigError: The file cannot be read, or has problems; the error lists all of them.
        """
        return _model_of(load_config(str(path)), resolve)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain data, for JSON or YAML; from_dict() reads it back."""
        return self.model_dump(mode="json", exclude_none=True)


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration."""
    return schema_of(TypeAdapter(Config))


def _model_of(document: Document, resolve: bool) -> Config:
    """Return a document as a model. Raises ConfigError."""
    return cast("Config", _build(check_document(document, _existing if resolve else None)))


def _existing(netns: int | str) -> int | str:
    """Return a network namespace as it is. Raises ValueError if it does not exist."""
    inode_of(netns)
    return netns


def _build(checked: Any) -> Any:
    """Return the model of a section that has been checked, also of sections in a list; anything else as it is."""
    if isinstance(checked, tuple) and checked and type(checked[0]) in MODELS and type(checked) is tuple:
        return tuple(_build(one) for one in checked)
    model = MODELS.get(type(checked))
    if model is None:
        return checked
    return model.model_construct(**{key: _build(value) for key, value in checked._asdict().items()})


# The models of the sections that have been checked.
MODELS: dict[type[Any], type[Section]] = {
    CheckedConfig: Config,
    CheckedDirection: Direction,
    CheckedList: NamedList,
    CheckedMacro: Macro,
    CheckedExample: Example,
    CheckedRule: Rule,
    CheckedIpv4Filter: Ipv4Filter,
    CheckedIpv6Filter: Ipv6Filter,
    CheckedPortFilter: PortFilter,
    CheckedNetnsFilter: NetnsFilter,
    CheckedNameFilter: NameFilter,
    CheckedProcessFilter: ProcessFilter,
    CheckedBinaryFilter: BinaryFilter,
    CheckedRun: Run,
    CheckedOutput: RunOutput,
}
