"""The documentation of configurations: its examples are valid, and its tables have every key, flag and limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from netmon.cli.flag_names import FLAGS
from netmon.config import Config, config_schema
from netmon.config.yaml_reader import MAX_EVENTS, MAX_PARTS, MAX_SIZE
from netmon.layout import Limit
from netmon.report import OPTIONS
from tests.unit.config.documents import BROKEN, problems_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/config.md").read_text()


def examples() -> Iterator[str]:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        yield from re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len([text for text in examples() if "egress:" in text]) > 3


@pytest.mark.parametrize("text", [text for text in examples() if "enabled:" in text])
def test_an_example_is_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "feed.txt").write_text("192.0.2.0/24\n2001:db8::/32\n")
    path = tmp_path / "netmon.yaml"
    path.write_text(text.replace("file:/etc/netmon/feeds/drop.txt", f"file:{tmp_path}/feed.txt"))
    assert Config.from_yaml(path)


def test_the_configurations_of_the_packages_are_valid() -> None:
    assert Config.from_yaml(ROOT / "pack/debian/netmon.yaml") == Config.everything()
    manifests = yaml.safe_load_all((ROOT / "pack/container/daemonset.yaml").read_text())
    (text,) = [manifest["data"]["netmon.yaml"] for manifest in manifests if manifest["kind"] == "ConfigMap"]
    assert Config.from_dict(yaml.safe_load(text)) == Config.everything()


def test_the_errors_are_what_netmon_prints() -> None:
    (block,) = re.findall(r"^```\n(netmon.yaml:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert {*block.splitlines()} <= {*problems_of(BROKEN)}


def section(title: str) -> str:
    """Return the part of the page from a title to the next heading or introduction of a table."""
    start = PAGE.index(f"\n{title}")
    return re.split(r"\n\n(?=In (?:an item of )?`|In each|## )", PAGE[start + 1 :])[0]


SECTIONS = {
    "Config": "| key | type | default | meaning |",
    "Direction": "In `ingress` and in `egress`",
    "Ipv4Filter": "In `ipv4_filter` and in `ipv6_filter`",
    "Ipv6Filter": "In `ipv4_filter` and in `ipv6_filter`",
    "PortFilter": "In `port_filter`",
    "NetnsFilter": "In `netns_filter`",
    "ProcessFilter": "In `process_filter`",
    "BinaryFilter": "In `binary`",
    "NameFilter": "In `name_filter`",
    "NamedList": "In each item of `lists`",
    "Macro": "In each item of `macros`",
    "Rule": "In each item of `rules`",
    "Example": "In each item of `tests`",
    "Report": "In `report`",
    "Run": "In `run`",
    "RunOutput": "In an item of `outputs`",
}


@pytest.mark.parametrize("model", SECTIONS)
def test_its_tables_have_the_keys_of_the_models(model: str) -> None:
    schema = config_schema()
    keys = (schema if model == "Config" else schema["$defs"][model])["properties"]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", section(SECTIONS[model]), re.MULTILINE)
    assert [key for key, _ in rows] == list(keys)
    assert {key: default for key, default in rows if default.startswith("`")} == {
        key: "`false`" for key, value in keys.items() if value.get("default") is False
    }
    assert {*SECTIONS} == {"Config", *schema["$defs"]}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_describes_report_options_as_the_help_does(name: str) -> None:
    option = OPTIONS[name]
    text = option.help if option.with_aggregate else f"{option.help}; not with `--aggregate`"
    assert f"| `{name}` | bool | `false` | {text} ([events.md](events.md#" in section("In `report`")


def test_it_has_each_flag_that_describes_a_configuration() -> None:
    table = section("## Flags").split("\n\n")[2]
    flags = {flag.replace("_", "-") for flag in FLAGS if flag not in OPTIONS}
    other_names = {"local", "peer", "local-port", "peer-port"}
    assert {*re.findall(r"--([a-z][\w-]+)", table)} == {*flags, *other_names, "outcome"}


def test_it_has_the_limits_of_a_file() -> None:
    limits = f"{MAX_SIZE >> 20} MiB; {MAX_EVENTS:,} values; {MAX_PARTS:,} keys and lists"
    assert f"\n| the file | {limits} |\n" in PAGE


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("binary.name", Limit.NAME_SIZE - 1),
        ("binary.prefix", Limit.PREFIX_SIZE),
        ("binary.path", Limit.BINARY_PATH_SIZE - 1),
        ("cgroup", Limit.PREFIX_SIZE - 1),
    ],
)
def test_it_has_the_limits(key: str, limit: int) -> None:
    assert f"\n| `{key}` | {limit} bytes" in PAGE
