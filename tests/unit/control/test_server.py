"""Who may ask for what at a control socket."""

from __future__ import annotations

import os
import socket

import pytest

from netmon.control.server import Command, Peer, peer_of, refusal

GROUP, OWN = 900, 500
LOOK = Command(dict)
CHANGE = Command(dict, changes=True)


@pytest.mark.parametrize(
    ("peer", "may_look", "may_change"),
    [
        (Peer(0, (0,)), True, True),
        (Peer(OWN, (OWN,)), True, True),
        (Peer(1000, (1000, GROUP)), True, False),
        (Peer(1000, (1000, 27)), False, False),
    ],
)
def test_root_and_the_own_user_may_all_and_the_group_may_look(peer: Peer, may_look: bool, may_change: bool) -> None:
    assert (refusal(peer, LOOK, GROUP, OWN) == "") is may_look
    assert (refusal(peer, CHANGE, GROUP, OWN) == "") is may_change


def test_without_a_group_it_is_nobodys() -> None:
    assert refusal(Peer(1000, (GROUP,)), LOOK, None, OWN) == (
        "user 1000 may not ask: only root, netmon's own user and the group of --control-group may"
    )


def test_the_kernel_says_who_has_connected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_of(ours) == Peer(os.geteuid(), (os.getegid(), *os.getgroups()))
