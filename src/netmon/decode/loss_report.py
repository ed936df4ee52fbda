"""A report of lost events, and how it is rendered: as JSON, or as LostEvents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netmon.decode.format import seldom_json
from netmon.losses import EVENT_REASONS, Losses

if TYPE_CHECKING:
    from netmon.events import LostEvents


class LossReport(NamedTuple):
    """What was lost since the report before it, or since the start."""

    losses: Losses
    timestamp: str  # UTC, in milliseconds

    def json(self) -> str:
        """Return a line of JSON. The keys have the order of the models' fields."""
        losses = self.losses
        counts = {
            "count": losses.total,
            **{reason: getattr(losses, reason) for reason in EVENT_REASONS},
            "missed": losses.missed,
            **({"blind_ms": losses.blind_ms} if losses.blind_ms else {}),
            **({"offenders": losses.top_offenders()} if losses.offenders else {}),
            **({"outputs": dict(losses.outputs)} if losses.outputs else {}),
        }
        return f'{{"type":"LostEvents","lost_events":{seldom_json(counts)},"timestamp":"{self.timestamp}"}}\n'

    def model(self) -> LostEvents:
        """Return the pydantic model, read back from the JSON."""
        from netmon.events import LostEvents  # imported late: pydantic is slow, and JSON lines do not need it

        return LostEvents.model_validate_json(self.json())
