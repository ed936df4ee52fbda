"""What a run says at its start about flags that may select something else than was meant. They are no errors."""

from __future__ import annotations

import argparse


def hints(options: argparse.Namespace) -> list[str]:
    """Return a line for each flag that may match nothing.

    Args:
        options: The parsed flags of `netmon run`.
    """
    lines = []
    if options.dst_port and options.ingress and not options.egress:
        flag = options.spelled["dst_port"]
        lines.append(f"{flag} is the peer's port: of accepted connections the client's; the server's is --local-port")
    if options.name:
        from netmon.cli.names import notices, running

        lines += notices(options.name, [*running()])
    return lines
