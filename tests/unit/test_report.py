"""Report options: the parts that are derived from their definition."""

from __future__ import annotations

import pytest

from netmon.decode.format import RECORDS_OF_PROCESSES
from netmon.layout import REPORT_OPTIONS, RecordType, ReportOptions
from netmon.monitor import Monitor
from netmon.report import EVENTS, OPTIONS, Report


def test_each_option_is_a_field_of_the_load_options() -> None:
    assert {*OPTIONS} <= {*ReportOptions._fields}


def test_the_events_are_the_records_of_connections() -> None:
    of_processes = RECORDS_OF_PROCESSES
    assert [event.upper() for event in EVENTS] == [kind.name for kind in RecordType if kind not in of_processes]


def test_each_option_has_a_help_text_and_is_off_by_default() -> None:
    assert not any(Report())
    for option in OPTIONS.values():
        assert option.help[0].islower()
        assert not option.help.endswith(".")


@pytest.mark.parametrize("name", OPTIONS)
def test_aggregation_excludes_options_of_single_connections(name: str) -> None:
    from netmon.config import Config

    config = Config.from_dict({"egress": {"enabled": True}, "report": {name: True}})
    if OPTIONS[name].with_aggregate:
        Monitor(config, aggregate=10)
    else:
        with pytest.raises(ValueError, match=f"aggregate: cannot be combined with {name}; leave one or the other out"):
            Monitor(config, aggregate=10)


def test_aggregation_excludes_a_choice_of_events() -> None:
    from netmon.config import Config

    config = Config.from_dict({"egress": {"enabled": True}, "report": {"events": ["close"]}})
    with pytest.raises(ValueError, match="aggregate: cannot be combined with events; leave one or the other out"):
        Monitor(config, aggregate=10)


def test_an_option_that_needs_a_direction_is_named_with_it() -> None:
    report = Report(outcome=True, parent=True)
    assert report.without_direction({"ingress": True, "egress": False}) == {"outcome": "egress"}
    assert report.without_direction({"ingress": False, "egress": True}) == {}


@pytest.mark.parametrize(
    ("events", "names_nothing"),
    [
        (None, False),
        (("establish",), False),
        (("establish", "close"), False),
        (("fail",), False),
        (("close",), True),
        (("fail", "close"), True),
        (("accept",), True),
    ],
)
def test_names_need_the_openings(events: tuple[str, ...] | None, names_nothing: bool) -> None:
    """A close has the names of its opening: nobody would know them without it."""
    assert Report(names=True, events=events).names_nothing == names_nothing
    assert not Report(events=events).names_nothing


@pytest.mark.parametrize("event", EVENTS)
def test_each_choice_of_events_fits_in_the_load_options(event: str) -> None:
    unsent = sum(1 << RecordType[other.upper()] for other in EVENTS if other != event)
    values = dict.fromkeys(ReportOptions._fields, 0) | {"unsent": unsent}
    packed = REPORT_OPTIONS.pack(*ReportOptions(**values))
    assert ReportOptions._make(REPORT_OPTIONS.unpack(packed)).unsent == unsent
