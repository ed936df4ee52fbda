"""Which rows are shown: order, filter, tree."""

from __future__ import annotations

import json

import pytest

from netmon.top.counts import CONNECTIONS, RECEIVED, Top
from netmon.top.order import MOST_DEEP, SORT_KEYS, VIEWS, Choice, Line, arrange, read_words
from tests.support.json_lines import connection_line, process
from tests.support.top_events import played


@pytest.fixture(scope="module")
def top() -> Top:
    return played(40)


def names(lines: list[Line]) -> list[str]:
    return [line.row.who.name if line.row.who else str(line.row.key) for line in lines]


def test_those_come_first_that_carry_most_now(top: Top) -> None:
    assert names(arrange(top, Choice()))[:3] == ["curl", "nginx", "python3.12"]
    assert names(arrange(top, Choice(reverse=True)))[-1] == "curl"


@pytest.mark.parametrize(
    ("sort", "first"),
    [("sent", "nginx"), ("received", "curl"), ("connections", "nginx"), ("failures", "python3.12"), ("open", "curl")],
)
def test_each_key_sorts(top: Top, sort: str, first: str) -> None:
    assert names(arrange(top, Choice(sort=sort)))[0] == first


def test_names_are_sorted_from_a_to_z(top: Top) -> None:
    found = names(arrange(top, Choice(sort="name")))
    assert found == sorted(found)


@pytest.mark.parametrize("by", VIEWS)
@pytest.mark.parametrize("sort", SORT_KEYS)
def test_every_view_can_be_sorted_by_every_key(top: Top, by: str, sort: str) -> None:
    assert len(arrange(top, Choice(by, sort))) == len(arrange(top, Choice(by))) > 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nginx", ["nginx"]),
        ("NGINX", ["nginx"]),
        ("big.iso", ["curl"]),
        ("10.0.0.6 :5432", ["gunicorn"]),
        ("refused", ["python3.12"]),
        ("!nginx !curl !python", ["gunicorn", "postgres"]),
        ("!", []),
        ("nothing", []),
    ],
)
def test_the_filter_finds_texts_of_rows_and_of_their_connections(top: Top, text: str, found: list[str]) -> None:
    assert names(arrange(top, Choice(sort="name", words=read_words(text)))) == found


def test_peers_are_found_by_their_processes(top: Top) -> None:
    assert names(arrange(top, Choice("peer", words=("curl",)))) == ["203.0.113.80"]


def test_a_tree_has_children_below_their_parents_and_sums(top: Top) -> None:
    lines = arrange(top, Choice("tree"))
    assert [(name, line.depth) for name, line in zip(names(lines), lines, strict=True)][:3] == [
        ("make", 0),
        ("curl", 1),
        ("python3.12", 1),
    ]
    make, curl, python = lines[:3]
    assert make.total[RECEIVED] == curl.total[RECEIVED] + python.total[RECEIVED]
    assert make.open == 1
    assert make.history[-1][RECEIVED] == curl.history[-1][RECEIVED] + python.history[-1][RECEIVED]
    assert "make" not in names(arrange(top, Choice()))  # it has no connections of its own


def test_the_filter_keeps_ancestors_and_descendants(top: Top) -> None:
    assert names(arrange(top, Choice("tree", words=("curl",)))) == ["make", "curl"]
    assert names(arrange(top, Choice("tree", words=("-j8",)))) == ["make", "curl", "python3.12"]


def chain(parents: dict[int, int]) -> Top:
    """Return a Top of processes with these parents."""
    top = Top(0.0)
    for pid, ppid in parents.items():
        event = json.loads(connection_line("Establish", pid, by=process(pid=pid, ppid=ppid)))
        event["parent"] = {**event["process"], "pid": ppid}
        top.add(event)
    return top


def test_nothing_is_missing_of_a_circle_or_of_a_deep_tree() -> None:
    """A recording can claim anything."""
    circle = arrange(chain({1: 2, 2: 3, 3: 1}), Choice("tree"))
    assert sum(line.row.tally.total[CONNECTIONS] for line in circle) == 3
    deep = arrange(chain({pid: pid - 1 for pid in range(1, 1500)}), Choice("tree"))
    assert {line.row.key[0] for line in deep} >= {*range(1, 1500)}
    assert max(line.depth for line in deep) <= MOST_DEEP
