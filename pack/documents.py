"""What Debian wants to know of a package, in its own forms: the changelog and the copyright."""

from __future__ import annotations

import email.utils
import re
import textwrap
from collections.abc import Mapping
from datetime import datetime, timezone

WIDTH = 78

# Texts that each Debian system has: the one file's licences by name, Debian's by theirs.
COMMON_LICENCES = {
    "elfutils-COPYING": "GPL-3",
    "elfutils-COPYING-GPLV2": "GPL-2",
    "elfutils-COPYING-LGPLV3": "LGPL-3",
    "libbpf-LICENSE.LGPL-2.1": "LGPL-2.1",
    "netmon-GPL-2.0-only": "GPL-2",
    "orjson-LICENSE-APACHE": "Apache-2.0",
    "orjson-LICENSE-MPL-2.0": "MPL-2.0",
}


def debian_changelog(changelog: str, package: str, maintainer: str, built: int) -> str:
    """Return CHANGELOG.md as deb-changelog(5) has it. built: the time (Unix) of what is not released yet."""
    versions = re.findall(r"^## (\S+) \((\S+)\)\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return "\n".join(_entry(package, maintainer, built, *version) for version in versions)


def _entry(package: str, maintainer: str, built: int, version: str, date: str, changes: str) -> str:
    if date == "unreleased":
        distribution, time = "UNRELEASED", datetime.fromtimestamp(built, timezone.utc)
    else:
        distribution, time = "stable", datetime.fromisoformat(f"{date}T00:00+00:00")
    items = [
        textwrap.fill(" ".join(item.split()), WIDTH, initial_indent="  * ", subsequent_indent="    ")
        for item in re.split(r"^- ", changes, flags=re.MULTILINE)[1:]
    ]
    lines = [
        f"{package} ({version}) {distribution}; urgency=medium\n",
        *items,
        f"\n -- {maintainer}  {email.utils.format_datetime(time)}\n",
    ]
    return "\n".join(lines)


def copyright_file(introduction: str, licences: Mapping[str, str]) -> str:
    """Return the introduction with the text of each licence, by name: once, if several have the same."""
    names: dict[str, list[str]] = {}
    for name, text in licences.items():
        if common := COMMON_LICENCES.get(name):
            text = f"On Debian systems: /usr/share/common-licenses/{common}"
        names.setdefault(text.strip("\n"), []).append(name)
    parts = [f"{'=' * WIDTH}\n{', '.join(alike)}\n{'=' * WIDTH}\n\n{text}\n" for text, alike in names.items()]
    return "\n".join([introduction, *parts])
