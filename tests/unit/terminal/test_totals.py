"""The summary for a person."""

from __future__ import annotations

from netmon.terminal.totals import KEPT, SHOWN, Totals


def test_nothing_has_no_table() -> None:
    assert Totals().lines() == []


def test_the_table() -> None:
    totals = Totals()
    totals.add("wget -> 192.0.2.10:80", 2)
    totals.add("wget -> 192.0.2.10:80", 0, 0, 137, 853_000)
    totals.add("curl -> 192.0.2.10:81", 0, 3)
    assert totals.lines() == [
        "connections  failed  sent  received  who and where",
        "          0       3    0B        0B  curl -> 192.0.2.10:81",
        "          2       0  137B      853k  wget -> 192.0.2.10:80",
    ]


def test_few_are_shown_and_the_others_are_added_up() -> None:
    totals = Totals()
    for number in range(SHOWN + 5):
        totals.add(f"program{number}", 100 - number, 0, 10, 1)
    lines = totals.lines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[1].split() == ["100", "0", "10B", "1B", "program0"]
    assert lines[-1].split(maxsplit=4) == [str(sum(100 - n for n in range(10, 15))), "0", "50B", "5B", "(5 others)"]


def test_its_memory_is_bounded() -> None:
    totals = Totals()
    for number in range(KEPT + 100):
        totals.add(f"program{number}", 1, 1)
    assert len(totals._counts) == KEPT
    opened, failed, *_ = totals.lines()[-1].split()
    assert int(opened) == int(failed) == KEPT + 100 - SHOWN
    assert totals.lines()[-1].endswith(f"(more than {KEPT - SHOWN} others)")
