"""What netmon can report beyond the plain events, and which events it sends. Each option is defined here, once.

The fields of Report are the keys of the section `report:` in a configuration and the flags of `netmon run`. The BPF
object has a load option of the same name for each (struct report_options in bpf/records.h). An option's text is its
help, and its description in the configuration's JSON Schema.
"""

# Without `from __future__ import annotations`: OPTIONS needs the annotations as objects.
from typing import Annotated, NamedTuple

# The events that can be chosen, by their record's name in bpf/records.h, and what each needs: a direction or an option.
EVENTS = {
    "establish": "egress",
    "accept": "ingress",
    "close": "",
    "fail": "outcome",
    "existing": "existing",
    "progress": "progress",
    "name": "sni",
}
# The direction of a connection, as far as an event's type alone tells it.
DIRECTION_OF = {"establish": "egress", "fail": "egress", "accept": "ingress", "name": "egress"}
NAMES_NEED_OPENINGS = "names needs establish; add it, or leave names out"
EVENTS_HELP = "send only these events"
ANCESTORS_HELP = "add to each process those that it descends from, the parent first, so many at most"
PROGRESS_HELP = (
    "report what connections have carried while they are open, so often, of those that have carried something"
)


class Option(NamedTuple):
    """What belongs to a report option besides its type and its default.

    Attributes:
        help: Its description: a phrase that begins with a verb.
        with_aggregate: Whether it can be combined with aggregation.
        needs: The direction that it needs, `ingress` or `egress`; empty if it has an effect in both.
    """

    help: str
    with_aggregate: bool = True
    needs: str = ""


class Report(NamedTuple):
    """What to report beyond the plain events, an option each."""

    outcome: Annotated[
        bool,
        Option(
            "report a connection attempt once it has succeeded or failed, with the error, not when it is made",
            with_aggregate=False,
            needs="egress",
        ),
    ] = False
    existing: Annotated[
        bool, Option("report the connections that are already open when netmon starts", with_aggregate=False)
    ] = False
    statistics: Annotated[
        bool,
        Option(
            "add to each close the duration, bytes, retransmissions, round-trip time and what ended the connection",
            with_aggregate=False,
        ),
    ] = False
    opener: Annotated[
        bool,
        Option(
            "add to a close the process that opened the connection, if another process closed it", with_aggregate=False
        ),
    ] = False
    parent: Annotated[bool, Option("add the parent of the process to each event")] = False
    context: Annotated[
        bool,
        Option(
            "add to each event the network namespace, the interface, the mark and the cgroup of the process",
            with_aggregate=False,
        ),
    ] = False
    exec: Annotated[
        bool,
        Option("add to each process what it exec'd, as it was then, and what of the process is not the host's"),
    ] = False
    names: Annotated[
        bool,
        Option(
            "add to the events of outgoing connections the names that DNS gave for the peer's address",
            with_aggregate=False,
            needs="egress",
        ),
    ] = False
    sni: Annotated[
        bool,
        Option(
            "report the server's name that a TLS client announces on an outgoing connection, as soon as it does",
            with_aggregate=False,
            needs="egress",
        ),
    ] = False
    workload: Annotated[
        bool,
        Option("add to each process its workload by name: pod, namespace, container, image, systemd unit, user"),
    ] = False
    id: Annotated[
        bool,
        Option("add to each process an id that no other process has, on any host: of the boot, the start and the pid"),
    ] = False
    ancestors: int | None = None  # how many, up to netmon.limits.MAX_ANCESTORS; None: off
    progress: float | None = None  # seconds, at least MIN_PROGRESS; None: off
    events: tuple[str, ...] | None = None  # of EVENTS; None sends all

    def not_with_aggregate(self) -> list[str]:
        """Return the names of the chosen options that cannot be combined with aggregation."""
        names = [name for name, option in OPTIONS.items() if getattr(self, name) and not option.with_aggregate]
        return names + [name for name in ("progress", "events") if getattr(self, name) is not None]

    def sends(self, event: str) -> bool:
        """Return whether an event, one of EVENTS, is sent at all."""
        return self.events is None or event in self.events

    @property
    def sends_progress(self) -> bool:
        """Whether what open connections have carried is reported."""
        return self.progress is not None and self.sends("progress")

    def without_direction(self, enabled: dict[str, bool]) -> dict[str, str]:
        """Return the chosen options that need a direction which is not enabled, and that direction's name.

        Args:
            enabled: For each direction's name, whether it is watched.
        """
        needs = {name: option.needs for name, option in OPTIONS.items() if option.needs and getattr(self, name)}
        return {name: direction for name, direction in needs.items() if not enabled[direction]}

    @property
    def names_nothing(self) -> bool:
        """Whether `names` lacks the events in which connections get their names: those of openings."""
        if not self.names or self.sends("establish"):
            return False
        return not self.sends("fail") or self.sends("close") or self.sends("progress")

    def impossible_events(self, enabled: dict[str, bool]) -> dict[str, str]:
        """Return the chosen events that cannot happen, and for each the direction or the option that it needs.

        Args:
            enabled: For each direction's name, whether it is watched.
        """
        options = {name: getattr(self, name) for name in OPTIONS}
        present = {**enabled, **options, "progress": self.progress is not None, "": True}
        return {event: needed for event in self.events or () if not present[needed := EVENTS[event]]}


# The switches among the keys: each is on or off.
OPTIONS: dict[str, Option] = {
    name: annotation.__metadata__[0]
    for name, annotation in Report.__annotations__.items()
    if hasattr(annotation, "__metadata__")
}
