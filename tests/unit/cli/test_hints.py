"""What a run says at its start about flags that may select something else than was meant."""

from __future__ import annotations

import pytest

from netmon.cli.hints import hints
from netmon.cli.main import make_parser


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--ingress --dst-port 80", ["--dst-port is the peer's port"]),
        ("--ingress --peer-port 80", ["--peer-port is the peer's port"]),
        ("--ingress --local-port 80", []),
        ("--ingress --egress --peer-port 80", []),
        ("--peer-port 80", []),
        ("--ingress --peer-port 80 --name no-such-program", ["--peer-port is", "--name no-such-program: nothing"]),
    ],
)
def test_hints(flags: str, expected: list[str]) -> None:
    found = hints(make_parser(["run"]).parse_args(["run", *flags.split()]))
    assert len(found) == len(expected)
    assert all(line.startswith(beginning) for line, beginning in zip(found, expected, strict=True))
