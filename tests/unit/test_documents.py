"""The documentation: its links lead somewhere, the files it names exist, and the README's samples are valid."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

import netmon
from netmon.config import Config
from netmon.events import event_schema
from tests.unit.test_architecture import imports_of, is_within, modules

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README, ARCHITECTURE = ((ROOT / name).read_text() for name in ("README.md", "docs/architecture.md"))

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
# These pages name files of the tree: from its root, or from one of the directories that they are about.
GUIDES = (ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md")
DIRECTORIES = (ROOT, ROOT / "src/netmon", ROOT / "bpf", ROOT / "docs")
FILE = re.compile(r"(?<![\w./$~*-])(?:[\w.-]+/)*(?:[\w-]+\.(?:py|h|c|md|toml|yaml)|(?<=/))(?![\w/*])")


def without_code(text: str) -> str:
    """Return Markdown without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_pages_and_headings(path: Path) -> None:
    for link in LINK.findall(without_code(path.read_text())):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        page = (path.parent / target).resolve() if target else path
        assert page.exists(), link
        assert not anchor or anchor in anchors(page), link


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs/index.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    assert {path for path in DOCUMENTS if path != index} <= linked


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_files_that_the_guides_name_exist(path: Path) -> None:
    names = {name.rstrip("/") for name in FILE.findall(path.read_text())}
    assert names
    assert not [name for name in names if not any((directory / name).exists() for directory in DIRECTORIES)]


def test_the_architecture_page_lists_what_each_package_imports() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.*) \|$|^\| `(\w+)/` \| .* \| \|$", ARCHITECTURE, re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "src/netmon").glob("*/__init__.py")}
    documented = {name or alone: {*re.findall(r"`(\w+)/`", imports)} for name, imports, alone in rows}
    assert {name: imports for name, imports in documented.items() if name in packages} == {
        name: {imported.split(".")[1] for imported in direct_imports(f"netmon.{name}")} & packages - {name}
        for name in packages
    }


def direct_imports(package: str) -> set[str]:
    """Return what a package's modules import of netmon when they run."""
    paths = (path for name, path in modules().items() if is_within(name, package))
    return {name for path in paths for name in imports_of(path, typing=False) if name.startswith("netmon.")}


def test_the_readme_s_event_is_valid() -> None:
    (sample,) = code_blocks(README, "json")
    event = json.loads(sample)
    jsonschema.validate(event, event_schema())
    assert event["network_event"].keys() == {"type", "saddr", "daddr", "sport", "dport", "cookie"}, "no report option"


def test_the_readme_s_configuration_is_valid() -> None:
    (sample,) = code_blocks(README, "yaml")
    Config.from_dict(yaml.safe_load(sample))


def test_the_readme_s_program_uses_the_library_s_names() -> None:
    (sample,) = code_blocks(README, "python")
    compile(sample, "README.md", "exec")
    (names,) = re.findall(r"^from netmon import (.*)$", sample, re.MULTILINE)
    assert set(names.split(", ")) <= set(netmon.__all__)
