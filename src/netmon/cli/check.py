"""`netmon check`: whether this host can run netmon."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import show
from netmon.limits import MINIMUM_KERNEL


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("check", help="say whether this host can run netmon, and what is missing")
    parser.add_argument("--any-kernel", action="store_true", help=f"accept kernels older than {MINIMUM_KERNEL}")
    parser.add_argument("--format", choices=("text", "json"), metavar="FORMAT", default="text", help="text or json")
    parser.set_defaults(command=check)


def check(options: argparse.Namespace) -> int:
    """Print each requirement with what was found; return EXIT_FAILED when one is not met."""
    from netmon.cli.selftest import check_bytes, check_programs  # slow to import
    from netmon.kernel.requirements import check_host

    requirements = [*check_host(any_kernel=options.any_kernel), check_programs()]
    if requirements[-1].ok:
        requirements.append(check_bytes())
    met = all(requirement.ok for requirement in requirements)
    if options.format == "json":
        import json

        from netmon.version import __version__

        # A remedy is for what is not met: each requirement has one in store.
        listed = [one._asdict() | {"remedy": "" if one.ok else one.remedy} for one in requirements]
        show(json.dumps({"version": __version__, "ok": met, "requirements": listed}, indent=2))
        return EXIT_OK if met else EXIT_FAILED
    for requirement in requirements:
        show(f"{'ok' if requirement.ok else 'FAIL':<5}{requirement.name}: {requirement.detail}")
        if not requirement.ok and requirement.remedy:
            show(f"     {requirement.remedy}")
    return EXIT_OK if met else EXIT_FAILED
