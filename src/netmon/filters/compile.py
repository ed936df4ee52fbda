"""Compiles a configuration into what the kernel side loads: settings, and the keys of the filter maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netmon.errors import ArgumentError
from netmon.filters.compiled import MET_MAPS, RULE_MAPS, RULE_PORTS, CompiledFilters, NameRules, Watched
from netmon.layout import SETTINGS, Direction, Family, IdKind, Limit

if TYPE_CHECKING:
    from netmon.config import Config, NetnsFilter, ProcessFilter
    from netmon.config.checked import CheckedConfig, CheckedNetnsFilter, CheckedProcessFilter


def compile_filters(config: Config | CheckedConfig | CompiledFilters | None) -> CompiledFilters:
    """Compile a configuration.

    Args:
        config: None reports everything, and loads no code that filters. What is compiled already is returned.

    Returns:
        The compiled filters. Filters of a direction that is not enabled are left out.

    Raises:
        ArgumentError: It is no Config.
        ConfigError: A path in the configuration is not a network namespace.
    """
    if config is None:
        return CompiledFilters(Watched(), bytes(SETTINGS.size))
    if isinstance(config, CompiledFilters):
        return config
    if not hasattr(config, "process_filter"):  # told apart without the models, which are slow to import
        kind = type(config).__name__
        raise ArgumentError(
            "config", f"must be a Config, not {kind}; Config.from_dict() and Config.from_yaml() make one"
        )
    # These take time to import, which a start without a configuration does not need.
    from netmon.filters.keys import cgroup_keys, cidr_keys, id_keys, name_keys, padded_keys, port_sets, prefix_keys
    from netmon.filters.settings import pack_settings

    parts = {Direction.INGRESS: config.ingress, Direction.EGRESS: config.egress}
    enabled = {direction: part for direction, part in parts.items() if part.enabled}
    lists = _process_lists(config.process_filter)
    rules, wanted = _rules(config)
    return CompiledFilters(
        watched=_watched(config),
        settings=pack_settings(enabled, config.netns_filter, config.process_filter, lists, wanted.pop("settings", {})),
        configured=True,
        ipv4_cidrs=cidr_keys(Family.IPV4, {key: part.ipv4_filter for key, part in enabled.items() if part.ipv4_filter}),
        ipv6_cidrs=cidr_keys(Family.IPV6, {key: part.ipv6_filter for key, part in enabled.items() if part.ipv6_filter}),
        ids=id_keys(_id_lists(lists, config.netns_filter)),
        binary_names=name_keys(lists.get("name", ()), lists.get("comm", ())),
        binary_paths=padded_keys(lists.get("path", ()), Limit.BINARY_PATH_SIZE),
        binary_prefixes=prefix_keys(lists.get("prefix", ())),
        cgroups=cgroup_keys(lists.get("cgroup", ())),
        container_ids=prefix_keys(lists.get("container_id", ())),
        ports=port_sets({key: part.port_filter for key, part in enabled.items() if part.port_filter}),
        names=name_rules(config),
        rules=rules,
        **wanted,
    )


def name_rules(config: Config | CheckedConfig) -> NameRules | None:
    """Return which names of peers pass; None if all do."""
    wanted = config.name_filter
    return NameRules(tuple(wanted.domain or ()), wanted.deny_list) if wanted is not None else None


def _rules(config: Config | CheckedConfig) -> tuple[bytes, dict[str, Any]]:
    """Return the rules as bytes, and what the kernel half loads of them, by its names; nothing without rules."""
    if not config.has_rules:
        return b"", {}
    from netmon.filters.rule_keys import rule_keys  # most configurations have none
    from netmon.rules.load import compile_rules
    from netmon.rules.plain import pack_rules
    from netmon.rules.wanted import what_is_wanted

    rules = compile_rules(config)
    keys = rule_keys(what_is_wanted(rules))
    parts: dict[str, Any] = {"settings": keys.settings, RULE_PORTS: keys.ports}
    for name, met in zip(RULE_MAPS, MET_MAPS, strict=True):
        parts[name], parts[met] = getattr(keys, name.removeprefix("rule_"))
    return pack_rules(rules), parts


def _watched(config: Config | CheckedConfig) -> Watched:
    process = config.process_filter
    return Watched(
        ingress=config.ingress.enabled,
        egress=config.egress.enabled,
        report=config.report,
        pids=tuple((process and process.pid) or ()),
        trees=tuple((process and process.descendants) or ()),
    )


def _process_lists(process: ProcessFilter | CheckedProcessFilter | None) -> dict[str, Sequence[Any]]:
    """Return the lists of a process filter, those of its executables among them, by their names."""
    if process is None:
        return {}
    binary = process.binary
    lists = {
        "followed": (*(process.pid or ()), *(process.descendants or ())),
        "uid": process.uid,
        "euid": process.euid,
        "auid": process.auid,
        "gid": process.gid,
        "name": binary and binary.name,
        "prefix": binary and binary.prefix,
        "path": binary and binary.path,
        "comm": binary and binary.comm,
        "cgroup": process.cgroup,
        "container_id": process.container_id,
    }
    return {name: values for name, values in lists.items() if values}


def _id_lists(
    process_lists: dict[str, Sequence[Any]], netns: NetnsFilter | CheckedNetnsFilter | None
) -> dict[IdKind, Sequence[int]]:
    lists: dict[IdKind, Sequence[int]] = {
        kind: process_lists[name] for kind in IdKind if (name := kind.name.lower()) in process_lists
    }
    if netns is not None:
        from netmon.config.netns import resolve_netns  # seldom needed

        lists[IdKind.NETNS] = resolve_netns(netns.netns or ())
    return lists
