"""Makes a Debian package's changelog from CHANGELOG.md."""

from __future__ import annotations

import email.utils
import re
import textwrap
from datetime import datetime, timezone

WIDTH = 78


def debian_changelog(changelog: str, package: str, maintainer: str, built: int) -> str:
    """Return a changelog in the form of deb-changelog(5).

    Args:
        changelog: The contents of CHANGELOG.md.
        package: The package's name.
        maintainer: Its maintainer's name and address.
        built: The Unix time that an unreleased version gets.
    """
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
