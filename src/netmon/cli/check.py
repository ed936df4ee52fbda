"""`netmon check`: whether this host can run netmon."""

from __future__ import annotations

import argparse
from typing import Any

from netmon.cli import EXIT_FAILED, EXIT_OK
from netmon.cli.console import show


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("check", help="say whether this host can run netmon, and what is missing")
    parser.add_argument("--any-kernel", action="store_true", help="accept kernels older than 6.2")
    parser.set_defaults(command=check)


def check(options: argparse.Namespace) -> int:
    """Print each requirement with what was found; return EXIT_FAILED when one is not met."""
    from netmon.kernel.requirements import check_host  # slow to import

    needs = check_host(any_kernel=options.any_kernel)
    for need in needs:
        show(f"{'ok' if need.ok else 'FAIL':<5}{need.name}: {need.detail}")
        if not need.ok and need.remedy:
            show(f"     {need.remedy}")
    return EXIT_OK if all(need.ok for need in needs) else EXIT_FAILED
