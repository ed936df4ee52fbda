"""docs/rules.md: its examples, messages, attributes and limits are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from netmon.config.checked import MAX_SECTIONS
from netmon.config.rule_checks import MAX_NAME, MAX_TAGS, SEVERITIES
from netmon.rules.analysis import MAX_ALTERNATIVES
from netmon.rules.attributes import ATTRIBUTES
from netmon.rules.judge import CONNECTIONS_KEPT, MAX_NAMES
from netmon.rules.message import MAX_MESSAGE
from netmon.rules.resolve import MAX_COMPARISONS, MAX_LEVEL
from netmon.rules.syntax import MAX_DEPTH
from netmon.rules.tokens import MAX_TEXT, MAX_TOKENS
from tests.unit.rules.rule_sets import places_of, problem_of, problems_of

PAGE = Path(__file__).parents[3].joinpath("docs/rules.md").read_text()

WRONG = """\
egress: {enabled: true}
rules:
- rule: dns
  action: drop
  when: port_dst == 53

- rule: a
  severity: low
  when: prot_dst == 22
"""


def test_its_messages_are_what_netmon_prints() -> None:
    (block,) = re.findall(r"^```\n(rules\.yaml:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    messages = [line.partition(".when: ")[2] for line in block.splitlines()]
    noise = {"rule": "dns", "when": "port_dst == 53", "action": "drop"}
    assert messages == [
        problem_of("prot_dst == 22").partition(" (at")[0],
        problem_of('ip_dst == "10.0.0.0/8" AND ip_dst == "11.0.0.0/8"'),
        problem_of("port_dst < 9 OR port_dst >= 9"),
        *problems_of(noise, {"rule": "a", "when": "port_dst == 53 AND uid == 0"}),
        problem_of("duration > 1s", report={}),
    ]
    assert places_of(WRONG) == [f"rules.yaml:9:9: rules[1].when: {messages[0]}"]


def test_it_has_each_attribute_and_what_it_needs() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE.partition("## Attributes")[2].partition("## ")[0], re.MULTILINE
    )
    assert [name for name, _ in rows] == [*ATTRIBUTES]
    for name, text in rows:
        meaning, _, needs = text.partition("; needs ")
        assert (meaning, tuple(re.findall(r"`(\w+)`", needs))) == (ATTRIBUTES[name].help, ATTRIBUTES[name].needs)


def test_it_has_the_limits() -> None:
    assert f"| rules, lists, macros | {MAX_SECTIONS:,} each" in PAGE
    assert (
        f"{MAX_TEXT:,} characters; {MAX_TOKENS:,} words; {MAX_DEPTH} parentheses in each other, {MAX_LEVEL} with"
        in PAGE
    )
    assert f"{MAX_COMPARISONS:,} comparisons" in PAGE
    assert f"more than {MAX_ALTERNATIVES} alternatives" in PAGE
    assert f"of {CONNECTIONS_KEPT:,} open connections" in PAGE
    assert f"At most {MAX_MESSAGE:,} bytes of JSON" in PAGE
    assert (
        f"up to {MAX_TAGS} words" in PAGE
        and f"up to {MAX_NAME} characters" in PAGE
        and f"up to {MAX_NAMES}. Its" in PAGE
    )
    assert all(f"`{severity}`" in PAGE for severity in SEVERITIES)
