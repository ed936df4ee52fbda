"""Conflicts between sections of a configuration that are correct by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from netmon.limits import MIN_PROGRESS
from netmon.report import NAMES_NEED_OPENINGS, OPTIONS, Report

if TYPE_CHECKING:
    from netmon.config.document import Document
    from netmon.errors import Location

DIRECTIONS = (("ingress",), ("egress",))
NEEDS_NAMES = "needs report.names: true, or report.sni: true; set it, or leave name_filter out"
NOTHING_ENABLED = "nothing to watch; set ingress.enabled or egress.enabled to true"


def conflicts_between(
    enabled: dict[str, bool], report: Report, *, has_name_filter: bool = False
) -> list[tuple[Location, str]]:
    """Return the places and the reasons of problems between sections that are correct by themselves.

    Args:
        enabled: For each direction's name, whether it is watched.
        report: What is reported.
        has_name_filter: Whether there is a filter of names.
    """
    if not any(enabled.values()):
        return [((), NOTHING_ENABLED)]
    conflicts: list[tuple[Location, str]] = [
        (("report", name), f"needs {direction}.enabled: true; set it, or leave {name} out")
        for name, direction in report.without_direction(enabled).items()
    ]
    if has_name_filter and not (report.names or report.sni):
        conflicts.append((("name_filter",), NEEDS_NAMES))
    if report.names_nothing:
        conflicts.append((("report", "events"), NAMES_NEED_OPENINGS))
    return conflicts + [
        (("report", "events"), f"{event} needs {_setting_of(needed)}; set it, or leave {event} out")
        for event, needed in report.impossible_events(enabled).items()
    ]


def _setting_of(needed: str) -> str:
    """Return what turns a direction or a report option on."""
    if needed == "progress":
        return "report.progress, like 30s"
    return f"report.{needed}: true" if needed in OPTIONS else f"{needed}.enabled: true"


def conflicts_in(document: Document, *, may_enable: bool) -> list[tuple[Location, str]]:
    """Return the conflicts in data that has other problems: as far as its sections can be read.

    Args:
        document: The data.
        may_enable: Whether it has keys that may be meant to enable a direction.
    """
    data = document.data
    sections = {key: part for key in ("ingress", "egress", "report") if isinstance(part := data.get(key), Mapping)}
    # A wrong value of `enabled` is reported itself: it may be meant to enable.
    enabled = {key: sections.get(key, {}).get("enabled") not in (None, False) for key in ("ingress", "egress")}
    options: dict[str, Any] = {name: sections.get("report", {}).get(name) is True for name in OPTIONS}
    # A wrong interval is reported itself.
    progress = MIN_PROGRESS if "progress" in sections.get("report", {}) else None
    conflicts = conflicts_between(enabled, Report(**options, progress=progress))
    # So may a direction that is no mapping.
    if may_enable or any(finding.location in DIRECTIONS for finding in document.found.listed()):
        conflicts = [conflict for conflict in conflicts if conflict[1] != NOTHING_ENABLED]
    return conflicts
