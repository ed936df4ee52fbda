"""Configuration files: how YAML is read, and which YAML is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.config import (
    Config,
    Ipv6Filter,
    yaml_reader,
)
from netmon.config.document import REFUSED
from netmon.config.problems import MAX_LISTED
from netmon.config.yaml_reader import load_yaml
from netmon.errors import ConfigError, Problem
from netmon.text import is_harmless
from tests.unit.config.documents import (
    NOT_A_NUMBER,
    REFERENCE_CLUSTER,
    lines_of,
    load,
    problems_of,
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "netmon.yaml: is empty; enable ingress, egress or both"),
        ("# nothing\n", "netmon.yaml: is empty; enable ingress, egress or both"),
        ("- egress\n", "netmon.yaml: must be a mapping with keys like ingress and egress"),
        (b"\xff\xfeegress:", "netmon.yaml: is not UTF-8 (byte 0); save it as UTF-8"),
        ("egress: \x01\n", "netmon.yaml: is not YAML: unacceptable character #x0001"),
        ("a: 1\n---\nb: 2\n", "netmon.yaml:2:1: is not YAML: expected a single document in the stream"),
        ("egress:\n\tenabled: true\n", "netmon.yaml:2:1: is not YAML: "),
        ("egress: {enabled: true\n", "netmon.yaml:2:1: is not YAML: while parsing a flow mapping"),
        ("[" * 5000, "netmon.yaml"),
        ("[" * 50 + "]" * 50, f"netmon.yaml:1: {'[0]' * 20}: is nested too deeply"),
        ("[" * 200 + "]" * 200, "netmon.yaml:1:121: is not YAML: is nested too deeply"),
        ("egress: *x\n", "netmon.yaml:1:9: is not YAML: found undefined alias"),
        ("? [a]\n: b\n", "netmon.yaml:1: has a list or a mapping as a key; write the key as text"),
        ("egress:\n  1: b\n", "netmon.yaml:2: egress: has the key '1', which is not text; put the key in quotes"),
        ("egress: !x {}\n", "netmon.yaml:1: egress: has the tag '!x', which is not supported; remove the tag"),
        ("egress: {enabled: !!bool yes}\n", "netmon.yaml:1: egress.enabled: has the tag "),
        ("egress: {enabled: !!int x}\n", "netmon.yaml:1: egress.enabled: has the tag "),
        ("process_filter: {uid: [!!int 010]}\n", "netmon.yaml:1: process_filter.uid[0]: has the tag "),
        ("egress: {enabled: true, <<: {}}\n", "netmon.yaml:1: egress['<<']: unknown key"),
        ("egress: {enabled: true}\negress: {}\n", "netmon.yaml:2: egress: is repeated, first on line 1; keep one"),
    ],
)
def test_refused_files(text: str | bytes, problem: str) -> None:
    assert problems_of(text)[0].startswith(problem)


NO_ALIAS = "is an alias (*), which is not supported; write the value out"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("egress: &x {enabled: true}\ningress: *x\n", "2: ingress:"),
        ("egress: &x {enabled: true, ipv4_filter: *x}\n", "1: egress.ipv4_filter:"),
        ("egress: {enabled: &x true}\ningress: {enabled: *x}\n", "2: ingress.enabled:"),
    ],
)
def test_aliases_are_refused_and_their_values_not_checked(text: str, problem: str) -> None:
    assert problems_of(text) == [f"netmon.yaml:{problem} {NO_ALIAS}"]


def test_an_alias_as_a_key_is_refused() -> None:
    assert problems_of("&x egress: {enabled: true}\n*x : {}\n") == [
        "netmon.yaml:2: has an alias (*) as a key, which is not supported; write the key out"
    ]


def test_an_alias_in_a_list_is_reported_with_its_own_line() -> None:
    text = "egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n      - &x 10.0.0.0/8\n      - *x\n"
    assert problems_of(text) == [f"netmon.yaml:6: egress.ipv4_filter.dst_ip[1]: {NO_ALIAS}"]


def test_aliases_that_would_expand_to_gigabytes() -> None:
    lines = ["egress:", "  enabled: true", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(20)]
    lines += ["  ipv4_filter: {src_ip: *a20}"]
    problems = problems_of("\n".join(lines))
    assert f"netmon.yaml:24: egress.ipv4_filter.src_ip: {NO_ALIAS}" in problems


@pytest.mark.parametrize("scalar", ["yes", "on", "010", "0x10", "1_0", "1:30", "1e3", "1.0", "2024-01-01"])
def test_special_scalars_of_yaml_1_1_are_text(scalar: str) -> None:
    """010 is neither 8 nor 10, and `yes` is not true."""
    text = f"egress: {{enabled: {scalar}}}\nprocess_filter: {{pid: [{scalar}]}}\n"
    assert problems_of(text) == [
        f"netmon.yaml:1: egress.enabled: '{scalar}' must be true or false, without quotes",
        f"netmon.yaml:2: process_filter.pid[0]: '{scalar}' {NOT_A_NUMBER}",
    ]


def test_tags_that_match_the_value_are_accepted() -> None:
    text = "egress: !!map {enabled: !!bool true, ipv4_filter: {dst_ip: !!seq [!!str 10.0.0.0/8]}}"
    assert load(text) == load("egress: {enabled: true, ipv4_filter: {dst_ip: [10.0.0.0/8]}}")


def test_addresses_that_yaml_1_1_reads_as_numbers() -> None:
    text = "egress: {enabled: true, ipv6_filter: {dst_ip: [12:30:45:10:20:30:40:50]}}"
    assert load(text).egress.ipv6_filter == Ipv6Filter(dst_ip=["12:30:45:10:20:30:40:50"])


@pytest.mark.parametrize("scalar", ["true", "True", "TRUE"])
def test_spellings_of_true(scalar: str) -> None:
    assert load(f"\ufeffegress: {{enabled: {scalar}}}").egress.enabled


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml(str(tmp_path / "x"))
    assert lines_of(caught.value) == [f"{tmp_path / 'x'}: cannot be read: No such file or directory"]


def test_a_path_that_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match=r"^'a\\x00b': cannot be read: "):
        Config.from_yaml("a\0b")


@pytest.mark.parametrize("address", ["::1", "fe80::"])
def test_an_ipv6_address_in_brackets_without_quotes(address: str) -> None:
    (problem,) = problems_of(f"egress:\n  enabled: true\n  ipv6_filter:\n    dst_ip: [{address}, 2000::/3]\n")
    assert problem.startswith("netmon.yaml:4:")
    assert problem.endswith("; IPv6 addresses in [ ] need quotes")


@pytest.mark.parametrize("item", ["2001:db8::", "2001:db8::  # a comment", "::"])
def test_an_ipv6_address_that_ends_with_a_colon_without_quotes(item: str) -> None:
    """YAML reads it as a mapping of one key."""
    address = item.split()[0]
    assert problems_of(f"egress:\n  enabled: true\n  ipv6_filter:\n    dst_ip:\n      - {item}\n") == [
        "netmon.yaml:5: egress.ipv6_filter.dst_ip[0]: is a mapping to YAML, since it ends with ':'; "
        f"put it in quotes: '{address}'"
    ]
    (problem,) = problems_of(f"egress:\n  enabled: true\n  ipv6_filter:\n    dst_ip: 2001{item}\n")
    assert problem.startswith("netmon.yaml:4:")
    assert problem.endswith("; an IPv6 address that ends with ':' needs quotes")


@pytest.mark.parametrize(
    "text",
    [
        "'{}': 1\n",
        "egress: {{enabled: true, '{}': 1}}\n",
        "egress:\n  enabled: true\n  ? {}\n  : 1\n  ? {}\n  : 1\n",
        "egress: !{} {{}}\n",
        "egress: {}\n",
        "egress: {{enabled: true}}\nnetns_filter: {{netns: [{}]}}\n",
        "egress: {{enabled: true}}\nprocess_filter: {{container_id: ['docker://{}']}}\n",
    ],
)
@pytest.mark.parametrize("size", [150, 20 << 20])
def test_what_is_long_is_shortened_in_messages(text: str, size: int) -> None:
    assert max(map(len, problems_of(text.format(*["x" * size] * 2)))) < 400


@pytest.mark.parametrize(
    "text",
    [
        '"\\e[2J": 1\n',
        'egress: {enabled: "\\e[2J"}\n',
        'netns_filter: {netns: ["\\e[2J\\u202e"]}\negress: {enabled: true}\n',
        'process_filter: {container_id: ["x://\\e[2J"]}\negress: {enabled: true}\n',
        '"\\e[2J": 1\n"\\e[2J": 1\n',
        'egress: {enabled: true, ipv4_filter: {dst_ip: ["\\e[2J": ]}}\n',
    ],
)
def test_messages_have_no_control_characters(text: str) -> None:
    assert all(problem.isprintable() for problem in problems_of(text))


@pytest.mark.parametrize("line", ["user{}: secret\n", "{}: secret\n", "? [secret{}]\n: 1\n", "!secret{0} k{0}: 1\n"])
def test_a_file_that_is_something_else_is_not_repeated(line: str) -> None:
    """Not everyone who may validate files may read them."""
    assert problems_of("".join(line.format(number) for number in range(20))) == [
        "netmon.yaml: is not a configuration of netmon, whose keys are ingress, egress, netns_filter, process_filter, "
        "name_filter, lists, macros, rules, unmatched, report, run; give the right file"
    ]


@pytest.mark.parametrize(
    ("limit", "text", "problem"),
    [
        ("MAX_EVENTS", "- a\n" * 1000, "netmon.yaml:98: has more than 100 values, the maximum; shorten its lists"),
        ("MAX_EVENTS", "!x\n" + "- a\n" * 1000, "netmon.yaml:99: has more than 100 values, the maximum"),
        ("MAX_PARTS", "- []\n" * 1000, "netmon.yaml:100: has more than 100 keys and lists; is it a configuration?"),
        ("MAX_PARTS", "".join(f"k{n}: 1\n" for n in range(1000)), "netmon.yaml:100: has more than 100 keys and lists"),
    ],
)
def test_a_file_with_too_much_in_it_is_refused_early(
    limit: str, text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_reader, limit, 100)
    (found,) = problems_of(text)
    assert found.startswith(problem)


def test_a_hundred_thousand_cidrs() -> None:
    cidrs = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(100_000)]
    lines = "".join(f"      - {cidr}\n" for cidr in cidrs)
    config = load(f"egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n{lines}")
    assert config.egress.ipv4_filter is not None
    assert config.egress.ipv4_filter.dst_ip == tuple(cidrs)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml("/dev/zero")
    assert lines_of(caught.value) == ["/dev/zero: is larger than 256 MiB, the maximum; shorten its lists"]


def test_a_pipe_can_be_read() -> None:
    """Like that of `netmon validate <(...)`."""
    reader, writer = os.pipe()
    os.write(writer, REFERENCE_CLUSTER.encode())
    os.close(writer)
    assert Config.from_yaml(f"/dev/fd/{reader}") == load(REFERENCE_CLUSTER)
    os.close(reader)


NO_TAG = "which is not supported; remove the tag"

# Items of a list: how they are written, what they are read as, and what is wrong with them.
ITEMS: list[tuple[str, Any, str | None]] = [
    *((text, text, None) for text in ("10.0.0.0/8", "::1", "007", "yes", "tRue", "+", "9" * 101)),
    *((text, int(text.split()[0]), None) for text in ("7", "-1", "+0", "9" * 100, "7 # or eight")),
    *((text, True, None) for text in ("true", "True", "TRUE", "!!bool tRue")),
    *((text, None, None) for text in ("", "~", "null", "Null", "!!null 7", "# nothing")),
    *((text, "7", None) for text in ("'7'", '"7"', "!!str 7", "|-\n    7", ">-\n    7")),
    *((text, "a b", None) for text in ("a b", "a\n    b", "'a\n    b'")),
    *((text, {"a": [7, []]}, None) for text in ("{a: [7, []]}", "a:\n    - 7\n    - []", "!!map\n    a: [7, []]")),
    ("!x 7", REFUSED, f"has the tag '!x', {NO_TAG}"),
    ("!x [7, {a: [7]}]", REFUSED, f"has the tag '!x', {NO_TAG}"),
    ("!!int x", REFUSED, f"has the tag 'tag:yaml.org,2002:int', {NO_TAG}"),
]


@given(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=MAX_LISTED))
def test_items_and_their_lines(items: list[tuple[str, Any, str | None]]) -> None:
    text, lines, problems = "list:\n", [], []
    for i, (item, _, problem) in enumerate(items):
        line = text.count("\n") + 1
        lines.append(line)
        text += f"  - {item}\n"
        if problem:
            problems.append((("list", i), problem, line))
    Path("netmon.yaml").write_text(text)
    document = load_yaml("netmon.yaml")
    assert document.data == {"list": [value for _, value, _ in items]}
    assert [document.lines.find(("list", i)) for i in range(len(items))] == lines
    assert document.problems == [Problem("netmon.yaml", line, place, None, text) for place, text, line in problems]


# What files are made of, and what they should not have.
PIECES = [
    *("egress", "enabled", "ipv4_filter", "dst_ip", "process_filter", "uid", "report", "true", "10.0.0.0/8", "1000"),
    *(
        ": ",
        ":\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "? ",
        "| ",
        "> ",
        "'",
        '"',
        "#",
        "%",
        "---\n",
        "\t",
    ),
    *("&a ", "*a", "!x ", "!!int ", "<<: ", "\\x1b", "\x1b", "\u202e", "\u2028", "\ufeff", "\0", "9" * 300, "x" * 300),
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(lambda pieces: "".join(pieces).encode()) | st.binary())
def test_any_file_is_a_configuration_or_has_problems(data: bytes) -> None:
    """Nothing else, and each message is short and shows nothing that controls a terminal."""
    Path("netmon.yaml").write_bytes(data)
    message = ""
    try:
        Config.from_yaml("netmon.yaml")
    except ConfigError as error:
        message = str(error)
    lines = message.split("\n")
    assert len(lines) <= MAX_LISTED + 1
    assert max(map(len, lines)) < 1000
    assert all(map(is_harmless, lines))


def test_a_value_that_yaml_refuses_is_reported_once() -> None:
    """Other problems beside it are reported, too."""
    text = (
        "report: &a !x true\nnetns_filter: *a\nprocess_filter: !x {}\n"
        "egress:\n  enabled: !x true\n  ipv4_filter:\n    dst_ip: [!x 1, 10.0.0.1/8, *a]\n"
    )
    tag, alias = (
        "has the tag '!x', which is not supported; remove the tag",
        NO_ALIAS,
    )
    assert problems_of(text) == [
        f"netmon.yaml:1: report: {tag}",
        f"netmon.yaml:2: netns_filter: {alias}",
        f"netmon.yaml:3: process_filter: {tag}",
        f"netmon.yaml:5: egress.enabled: {tag}",
        f"netmon.yaml:7: egress.ipv4_filter.dst_ip[0]: {tag}",
        f"netmon.yaml:7: egress.ipv4_filter.dst_ip[2]: {alias}",
        "netmon.yaml:7: egress.ipv4_filter.dst_ip[1]: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?",
    ]
