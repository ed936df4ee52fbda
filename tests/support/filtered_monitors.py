"""Monitors that get one configuration after another: a reload takes a small part of the time that a start takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from netmon import Config, Monitor, NetworkEvent
from netmon.config.checked import CheckedConfig
from netmon.filters.compile import compile_filters
from netmon.report import OPTIONS

# Returns a monitor with a configuration's filters, which has no events yet.
Filtered = Callable[[Config | CheckedConfig], Monitor]


@contextmanager
def filtered_monitors() -> Iterator[Filtered]:
    """Yield a Filtered. There is one monitor for each pair of directions and set of report options."""
    with ExitStack() as running:

        @cache
        def start(ingress: bool, egress: bool, report: tuple[str, ...]) -> Monitor:
            data = {"ingress": {"enabled": ingress}, "egress": {"enabled": egress}}
            config = Config.from_dict({**data, "report": dict.fromkeys(report, True)} if report else data)
            return running.enter_context(Monitor(config, any_kernel=True))

        def reload(config: Config | CheckedConfig) -> Monitor:
            report = tuple(name for name in OPTIONS if getattr(config.report, name))
            monitor = start(config.ingress.enabled, config.egress.enabled, report)
            monitor.reload(compile_filters(config))
            events_so_far(monitor)
            return monitor

        yield reload


def events_so_far(monitor: Monitor) -> list[NetworkEvent]:
    """Return the events of what has happened by now."""
    return list(monitor.connection_events(timeout=0))
