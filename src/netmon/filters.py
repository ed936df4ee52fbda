"""A configuration to what the kernel's maps and settings hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from netmon.layout import (
    BINARY_PREFIX_KEY,
    ID_KEY,
    IPV4_CIDR_KEY,
    IPV6_CIDR_KEY,
    SETTINGS,
    Direction,
    End,
    Family,
    FilterMode,
    IdKind,
    Limit,
    Settings,
)

if TYPE_CHECKING:
    from netmon import config as models
    from netmon.config import Config, Ipv4Filter, Ipv6Filter, ProcessFilter

LIST_BITS = 32  # of an LPM key, before the address: the list's number


class Watched(NamedTuple):
    """Which programs are needed, and what they tell: cannot change while they run."""

    ingress: bool = True
    egress: bool = True
    existing: bool = False
    statistics: bool = False
    outcome: bool = False  # of egress
    opener: bool = False
    parent: bool = False
    context: bool = False

    def differences(self, other: Watched) -> list[str]:
        """Return the configuration's keys in which the two differ."""
        renamed = {"ingress": "ingress.enabled", "egress": "egress.enabled", "outcome": "egress.outcome"}
        keys = [renamed.get(name, name) for name in self._fields]
        return [key for key, mine, others in zip(keys, self, other, strict=True) if mine != others]


class CompiledFilters(NamedTuple):
    """What is watched, the settings' bytes, and the keys that each filter map has.

    A map's keys, all of one size, follow each other in one bytes: a million objects would take many times their room.
    For the same reason a CIDR that is listed twice comes twice; the trie keeps one. Other keys do not.
    """

    watched: Watched
    settings: bytes
    ipv4_cidrs: bytes = b""
    ipv6_cidrs: bytes = b""
    process_ids: bytes = b""
    binary_names: bytes = b""
    binary_paths: bytes = b""
    binary_prefixes: bytes = b""


def compile_filters(config: Config | None) -> CompiledFilters:
    """Return what makes the kernel judge as config says: None is everything. What is not enabled takes no room."""
    settings = dict.fromkeys(Settings._fields, 0)
    if config is None:
        return CompiledFilters(Watched(), SETTINGS.pack(*settings.values()))
    ipv4 = ipv6 = b""
    for direction, part in ((Direction.INGRESS, config.ingress), (Direction.EGRESS, config.egress)):
        if not part.enabled:
            continue
        settings |= _ip_settings(direction, part)
        ipv4 += _cidr_keys(direction, part.ipv4_filter, Family.IPV4)
        ipv6 += _cidr_keys(direction, part.ipv6_filter, Family.IPV6)
    process = config.process_filter
    binary = process.binary if process else None
    settings |= _process_settings(process)
    return CompiledFilters(
        watched=Watched(
            ingress=config.ingress.enabled,
            egress=config.egress.enabled,
            existing=config.existing,
            statistics=config.statistics,
            outcome=config.egress.enabled and config.egress.outcome,
            opener=config.opener,
            parent=config.parent,
            context=config.context,
        ),
        settings=SETTINGS.pack(*Settings(**settings)),
        ipv4_cidrs=ipv4,
        ipv6_cidrs=ipv6,
        process_ids=_unique(_id_keys(process) if process else ()),
        binary_names=_padded(binary.name if binary else None, Limit.NAME_SIZE),
        binary_paths=_padded(binary.path if binary else None, Limit.BINARY_PATH_SIZE),
        binary_prefixes=_unique(_prefix_keys(binary.prefix if binary else None)),
    )


def _unique(keys: Iterable[bytes]) -> bytes:
    return b"".join(dict.fromkeys(keys))


def _mode(filter_: Ipv4Filter | Ipv6Filter | ProcessFilter) -> FilterMode:
    return FilterMode.DENY if filter_.deny_list else FilterMode.ALLOW


def _ip_settings(direction: Direction, part: models.Direction) -> dict[str, int]:
    settings: dict[str, int] = {}
    for family, filter_ in ((Family.IPV4, part.ipv4_filter), (Family.IPV6, part.ipv6_filter)):
        if filter_ is not None:
            prefix = f"ip_filters_{direction:d}_{family:d}"
            settings[f"{prefix}_mode"] = _mode(filter_)
            settings[f"{prefix}_src"] = bool(filter_.src_ip)
            settings[f"{prefix}_dst"] = bool(filter_.dst_ip)
    return settings


def _process_settings(process: ProcessFilter | None) -> dict[str, int]:
    if process is None:
        return {}
    binary = process.binary
    present = {
        "uid": process.uid,
        "euid": process.euid,
        "auid": process.auid,
        "name": binary and binary.name,
        "prefix": binary and binary.prefix,
        "path": binary and binary.path,
    }
    flags = {f"process_filter_{name}": int(bool(values)) for name, values in present.items()}
    return {"process_filter_mode": _mode(process), **flags}


def _cidr_keys(direction: Direction, filter_: Ipv4Filter | Ipv6Filter | None, family: Family) -> bytes:
    """Return the LPM keys of a filter's lists."""
    if filter_ is None:
        return b""
    from netmon.cidr import SOCKET_FAMILIES, split_cidr  # slow to import, and seldom needed

    pack = (IPV4_CIDR_KEY if family == Family.IPV4 else IPV6_CIDR_KEY).pack
    socket_family = SOCKET_FAMILIES[family]
    keys = bytearray()
    for end, cidrs in ((End.SRC, filter_.src_ip), (End.DST, filter_.dst_ip)):
        number = (direction * 2 + end).to_bytes(4, "big")
        for cidr in cidrs or ():
            address, length = split_cidr(cidr, socket_family)
            keys += pack(LIST_BITS + length, number, address)
    return bytes(keys)


def _id_keys(process: ProcessFilter) -> Iterable[bytes]:
    lists = ((IdKind.UID, process.uid), (IdKind.EUID, process.euid), (IdKind.AUID, process.auid))
    for kind, ids in lists:
        for number in ids or ():
            yield ID_KEY.pack(kind, number)


def _padded(texts: Sequence[str] | None, size: int) -> bytes:
    return _unique(text.encode().ljust(size, b"\0") for text in texts or ())


def _prefix_keys(prefixes: Sequence[str] | None) -> Iterable[bytes]:
    for prefix in prefixes or ():
        encoded = prefix.encode()
        yield BINARY_PREFIX_KEY.pack(8 * len(encoded), encoded)
