"""Configurations of several files: drop-ins, directories, and lists of addresses in files of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from netmon.cli.config_process import ConfigProcess
from netmon.config import Config
from netmon.config.digest import digest_of_files
from netmon.config.files import MAX_FILES, read_files
from netmon.errors import ConfigError

BASE = "ingress: {enabled: true}\negress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n    - 10.0.0.0/8\n"


def written(directory: Path, files: Mapping[str, str]) -> str:
    """Write files; return the path of the first one."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("DIR", str(directory)))
    return str(directory / next(iter(files)))


def problems_of(path: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml(path)
    return str(caught.value).replace(f"{Path(path).parent}/", "").splitlines()


def addresses_of(config: Config) -> list[str]:
    assert config.egress.ipv4_filter is not None
    return list(config.egress.ipv4_filter.dst_ip or ())


def test_drop_ins_are_merged_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "netmon.yaml": BASE,
            "netmon.d/20-b.yaml": "egress: {ipv4_filter: {dst_ip: [192.0.2.2]}}\n",
            "netmon.d/10-a.yml": "# a comment\negress: {enabled: true, ipv4_filter: {dst_ip: [192.0.2.1]}}\n"
            "report: {outcome: true}\n",
            "netmon.d/30-empty.yaml": "# nothing\n---\n",
            "netmon.d/README": "no configuration",
            "netmon.d/.hidden.yaml": "nonsense: true\n",
        },
    )
    config = Config.from_yaml(path)
    assert addresses_of(config) == ["10.0.0.0/8", "192.0.2.1", "192.0.2.2"]
    assert config.report.outcome


def test_the_files_of_a_directory_are_one_configuration(tmp_path: Path) -> None:
    written(tmp_path, {"b.yaml": "egress: {enabled: true}\n", "a.yaml": "ingress: {enabled: true}\n"})
    assert Config.from_yaml(tmp_path) == Config.everything()
    (tmp_path / "none").mkdir()
    assert problems_of(str(tmp_path / "none")) == ["none: has no file that ends with .yaml or .yml"]


def test_a_contradiction_names_both_places(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"netmon.yaml": BASE, "netmon.d/a.yaml": "egress:\n  enabled: false\n  ipv4_filter: [1]\n"}
    )
    assert problems_of(path) == [
        "netmon.d/a.yaml:2: egress.enabled: is also in netmon.yaml:3, with another value; keep one of the two",
        "netmon.d/a.yaml:3: egress.ipv4_filter: is also in netmon.yaml:4, with another value; keep one of the two",
    ]


def test_problems_have_their_own_file_and_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "netmon.yaml": BASE + "rules:\n- {rule: a, when: 'uid == 0'}\n",
            "netmon.d/a.yaml": "egress:\n  ipv4_filter:\n    dst_ip:\n    - 192.0.2.1\n    - wrong\n",
            "netmon.d/b.yaml": "rules:\n- rule: b\n  when: 'uid == 0'\n- rule: c\n  when: 'nonsense == 0'\nzzz: 1\n",
        },
    )
    assert [problem.partition(": ")[0] for problem in problems_of(path)] == ["netmon.d/a.yaml:5", "netmon.d/b.yaml:6"]
    (tmp_path / "netmon.d/a.yaml").unlink()
    text = (tmp_path / "netmon.d/b.yaml").read_text()
    (tmp_path / "netmon.d/b.yaml").write_text(text.replace("zzz: 1\n", ""))
    (problem,) = problems_of(path)
    assert problem.startswith("netmon.d/b.yaml:5:10: rules[2].when: ")


def test_what_is_no_yaml_and_no_mapping_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"netmon.yaml": BASE, "netmon.d/a.yaml": "egress: [\n"})
    assert problems_of(path)[0].startswith("netmon.d/a.yaml:2:1: is not YAML: ")
    (tmp_path / "netmon.d/a.yaml").write_text("- a\n")
    assert problems_of(path) == ["netmon.d/a.yaml: must be a mapping with keys like ingress and egress"]
    (tmp_path / "netmon.d/a.yaml").write_text("egress: &x {enabled: true}\ningress: *x\n")
    assert problems_of(path)[0].startswith("netmon.d/a.yaml:2: ingress: is an alias")


def test_too_many_drop_ins_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"netmon.yaml": BASE, **{f"netmon.d/{i}.yaml": "" for i in range(MAX_FILES + 1)}})
    assert problems_of(path) == [f"netmon.d: has {MAX_FILES + 1} files; {MAX_FILES} is the maximum"]


FEED = """\ufeff# a feed
192.0.2.0/24 ; SBL1
 198.51.100.7   # one host

2001:db8::/32
"""


def test_a_list_of_addresses_stands_for_its_lines_of_the_filters_family(tmp_path: Path) -> None:
    filters = "  ipv4_filter: {dst_ip: [10.0.0.0/8, 'file:DIR/feed.txt', 10.9.9.9]}\n"
    filters += "  ipv6_filter: {dst_ip: [file:DIR/feed.txt]}\n"
    path = written(tmp_path, {"netmon.yaml": "egress:\n  enabled: true\n" + filters, "feed.txt": FEED})
    config = Config.from_yaml(path)
    assert addresses_of(config) == ["10.0.0.0/8", "192.0.2.0/24", "198.51.100.7", "10.9.9.9"]
    assert config.egress.ipv6_filter is not None
    assert config.egress.ipv6_filter.dst_ip == ("2001:db8::/32",)


def test_the_lists_of_rules_may_be_files(tmp_path: Path) -> None:
    rules = "lists:\n- {list: other, items: [a]}\n- list: bad\n  items: [file:DIR/feed.txt]\n"
    rules += "rules:\n- {rule: known-bad, when: 'ip_dst in bad'}\n"
    path = written(tmp_path, {"netmon.yaml": BASE, "netmon.d/r.yaml": rules, "feed.txt": "192.0.2.0/24\n"})
    try:
        config = Config.from_yaml(path)
    except ConfigError as error:
        pytest.fail(str(error))
    assert config.lists is not None
    assert config.lists[1].items == ("192.0.2.0/24",)


def test_a_wrong_line_is_named_and_not_repeated(tmp_path: Path) -> None:
    """The file may be one that whoever reads the message may not read."""
    text = "egress:\n  enabled: true\n  ipv4_filter:\n    dst_ip:\n    - file:DIR/feed.txt\n    - wrong\n"
    path = written(tmp_path, {"netmon.yaml": text, "feed.txt": "10.0.0.0/8\n# x\nroot:secret\n".replace(":", "_")})
    found = problems_of(path)
    assert [problem.partition(": ")[0] for problem in found] == ["feed.txt:3", "netmon.yaml:6"]
    assert "secret" not in "".join(found)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("file:DIR/none", "DIR/none cannot be read: No such file or directory"),
        ("file:DIR", "DIR is no regular file"),
        ("file:relative.txt", "relative.txt cannot be read: write an absolute path without blanks"),
        ("'file:DIR/a b'", "DIR/a b cannot be read: write an absolute path without blanks"),
        ("file:DIR/empty", "DIR/empty has no IPv4 address"),
        ("file:DIR/latin", "DIR/latin is not UTF-8 (line 2)"),
        ("file:DIR/fifo", "DIR/fifo is no regular file"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(item: str, problem: str, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"netmon.yaml": f"egress: {{enabled: true, ipv4_filter: {{dst_ip: [{item}]}}}}\n", "empty": "#\n::1\n"},
    )
    (tmp_path / "latin").write_bytes(b"10.0.0.1\n\xe9\n")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml(path)
    (found,) = caught.value.problems
    assert (found.source, found.line) == (path, 1)
    assert found.message.startswith(problem.replace("DIR", str(tmp_path)))


def test_a_list_elsewhere_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, {"netmon.yaml": BASE + "process_filter: {uid: [file:DIR/a]}\n", "a": "0\n"})
    (problem,) = problems_of(path)
    assert problem.startswith("netmon.yaml:7: process_filter.uid[0]: ")


def test_the_process_that_reads_has_them_all(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "netmon.yaml": BASE,
            "netmon.d/a.yaml": "egress: {ipv4_filter: {dst_ip: [file:DIR/feed.txt]}}\n",
            "feed.txt": "".join(f"192.0.2.{i}\n" for i in range(200)),
        },
    )
    filters, _ = ConfigProcess(path).result()
    alone, _ = ConfigProcess(written(tmp_path, {"other.yaml": BASE})).result()
    grown = len(filters.ipv4_cidrs) - len(alone.ipv4_cidrs)
    assert grown == 200 * len(alone.ipv4_cidrs)
    listing = "".join(f"{sha256(content).hexdigest()}  {name}\n" for name, content in read_files(path).contents)
    assert filters.digest == sha256(listing.encode()).digest()
    assert alone.digest == sha256(BASE.encode()).digest()
    filters.release()
    alone.release()


def test_the_digest_of_several_files_is_that_of_their_digests() -> None:
    files = [("/a", b"1"), ("/b", b"2")]
    lines = "".join(f"{sha256(content).hexdigest()}  {path}\n" for path, content in files)
    assert digest_of_files(files) == sha256(lines.encode()).digest()


def test_an_older_netmon_names_the_keys_of_a_newer_file(tmp_path: Path) -> None:
    """It does not start with another meaning than the file's."""
    path = written(tmp_path, {"netmon.yaml": BASE, "netmon.d/new.yaml": "of_tomorrow: true\n"})
    (problem,) = problems_of(path)
    assert problem.startswith("netmon.d/new.yaml:1: of_tomorrow: unknown key")
