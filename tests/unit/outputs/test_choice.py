"""Which events an output gets."""

from __future__ import annotations

import json

from netmon.config.outputs import OUTPUT_EVENTS
from netmon.outputs.choice import Choice, event_name
from netmon.schemas.facts import kind_of
from tests.unit.outputs.lines import event
from tests.unit.schemas.events import LINES


def test_the_name_of_an_event_is_found_without_parsing_it() -> None:
    names = {name: event_name(line) for name, line in LINES.items()}
    assert names == {name: kind_of(json.loads(line)) for name, line in LINES.items()}
    assert {*names.values()} == {*OUTPUT_EVENTS}


def test_what_an_argument_says_is_no_event() -> None:
    assert event_name(event(1).decode()) == "establish"


def test_chosen_lines_keep_their_order() -> None:
    lines = [event(number, type_).decode() for number, type_ in enumerate(("Close", "Accept", "Close", "Fail"))]
    assert Choice(["close", "fail"]).of(lines) == [lines[0], lines[2], lines[3]]
    assert Choice(["lost"]).of(lines) == []
