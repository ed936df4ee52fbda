"""Who opened a connection, found in lines of JSON."""

from __future__ import annotations

import pytest

from netmon.schemas import directions
from netmon.schemas.directions import Directions
from tests.support.json_lines import connection_line, flow_line, loss_line, process
from tests.unit.schemas.events import LINES


def test_openings_are_remembered_until_after_the_close() -> None:
    known = Directions()
    known.note(
        [
            connection_line("Establish", 1),
            connection_line("Accept", 2),
            connection_line("Existing", 3, direction="ingress"),
            connection_line("Existing", 4, direction="egress"),
            connection_line("Close", 1),
            connection_line("Close", 5),
            flow_line(),
            loss_line(count=1),
        ]
    )
    assert [known.of(cookie) for cookie in range(1, 7)] == ["egress", "ingress", "ingress", "egress", "", ""]


def test_an_argument_is_no_event() -> None:
    known = Directions()
    inside = connection_line("Accept", 7)
    known.note([connection_line("Establish", 1, by=process(args=inside, filename=inside))])
    assert (known.of(1), known.of(7)) == ("egress", "")


def test_they_are_found_in_the_lines_of_all_events() -> None:
    known = Directions()
    known.note(LINES.values())
    assert known.of(6) == "ingress"


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "OPEN_LIMIT", 2)
    monkeypatch.setattr(directions, "CLOSED_LIMIT", 1)
    known = Directions()
    known.note(connection_line("Establish", cookie) for cookie in (1, 2, 3))
    assert [known.of(cookie) for cookie in (1, 2, 3)] == ["", "egress", "egress"]
    known.note(connection_line("Close", cookie) for cookie in (2, 3))
    assert [known.of(cookie) for cookie in (2, 3)] == ["", "egress"]
