"""Who floods the ring buffer loses events, and is named; others lose none."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any, NamedTuple

import pytest

from tests.support.attacks import HUGE_ARGUMENT, UID, attacking
from tests.support.netmon_command import Netmon, counts_of
from tests.support.sockets import refused_connection

CONNECTIONS = 100  # of the victim, in the time of the attack
SECONDS = 2.5
RING = "256K"


class Attacked(NamedTuple):
    """What netmon reported while a victim, this process, made connections during an attack."""

    of_victim: int  # events
    losses: list[dict[str, Any]]
    stderr: str

    @property
    def offenders(self) -> Counter[str]:
        refused: Counter[str] = Counter()
        for loss in self.losses:
            refused.update(loss.get("offenders", {}))
        return refused


def attack(*flags: str, cgroup: str | None) -> Attacked:
    """Make connections, at an even pace, while an attacker floods netmon."""
    with Netmon("--ring-size", RING, *flags) as netmon:
        with attacking("change", HUGE_ARGUMENT, cgroup=cgroup):
            netmon.wait_until(lambda: netmon.losses, "the first loss")
            began = time.monotonic()
            cookies: set[int] = set()
            while len(cookies) < CONNECTIONS:
                if time.monotonic() - began >= SECONDS / CONNECTIONS * len(cookies):
                    cookies.add(refused_connection())
        ended = netmon.stop()
    assert ended.returncode == 0
    of_victim = [event for event in ended.events if event["network_event"]["cookie"] in cookies]
    return Attacked(len(of_victim), ended.losses, ended.stderr)


@pytest.mark.core(cgroup=None)
@pytest.mark.parametrize(
    ("cgroup", "name"), [(None, f"uid {UID}"), ("/a/b/c/d/e", "/a/b/c")], ids=["by-user", "by-cgroup"]
)
def test_a_flood_costs_nobody_else_an_event(cgroup: str | None, name: str) -> None:
    """The attacker has 120 KiB of arguments and changes its credentials: each connection has a description of 8 KiB."""
    attacked = attack(cgroup=cgroup)
    summary = attacked.stderr.splitlines()[-1]
    print(f"of the victim {attacked.of_victim}: {summary}")
    _, lost, _ = counts_of(attacked.stderr)
    assert attacked.of_victim == 2 * CONNECTIONS
    assert set(attacked.offenders) == {name}
    assert lost == sum(loss["over_budget"] for loss in attacked.losses) > 0
    refused = re.search(rf", (\d+) records of {name} refused", summary)
    assert refused
    assert int(refused[1]) == attacked.offenders[name]
