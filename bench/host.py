"""The host's half: runs the guest and collects its measurements."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from datetime import datetime, timezone
from typing import Any

from bench.monitors import MONITORS
from bench.plan import Plan
from vm.image import FOR_TESTS, MODULES, PACKAGES, PROJECT, Contents
from vm.qemu import BOOTS, CPUS, Machine

WITH_PEERS = Contents("bench", (*PACKAGES, "bpfcc-tools", "bpftrace", "libbpf-tools", "python3-bpfcc"), "6G")
# The modules of connection tracking, and those that ss and nft have the kernel load.
TRACKING = ("nf_defrag_ipv4", "nf_defrag_ipv6", "nf_conntrack", "nf_conntrack_netlink", "nft_ct")
THAT_COUNT_BYTES = Contents("bytes", (*PACKAGES, "conntrack", "libbpf-tools"), "3G", modules=(*MODULES, *TRACKING))
# Seconds without a message after which a guest is ended: bcc takes a minute to start, a million CIDRs longer.
SILENCE = 900

Result = dict[str, Any]


class GuestDiedError(Exception):
    """The guest ended before its plan did."""


def run_in_guest(plan: Plan) -> Result:
    """Return the measurements with their circumstances, from which reports are made."""
    for _ in range(BOOTS):
        files = {"plan.json": plan.to_json()}
        machine = Machine(plan.kernel, "bench.guest", files, contents_for(plan), counts_instructions=plan.counted)
        try:
            samples, code = _listen(machine)
        finally:
            machine.close()
        if code == 0:
            return {**_circumstances(plan, machine.release), "samples": samples}
        if samples or code is not None:
            break
        print("bench: the guest died while booting, trying again", file=sys.stderr)
    raise GuestDiedError(f"the guest did not end its run; its console ended with:\n{machine.console_tail()}")


def contents_for(plan: Plan) -> Contents:
    """Return the contents of the guest, with the kernel's headers only if a monitor compiles against them."""
    if plan.flood or plan.rules:
        return FOR_TESTS
    if plan.byte_counts:
        return THAT_COUNT_BYTES
    # bcc's tools compile against the kernel's headers.
    compiles = not plan.counted and any(MONITORS[name].compiles for name in plan.monitors)
    return dataclasses.replace(WITH_PEERS, kernel_headers=compiles)


def _listen(machine: Machine) -> tuple[list[Result], int | None]:
    """Return the samples, and the exit code if the guest sends one."""
    samples: list[Result] = []
    code = None
    timer = _start_timer(machine)
    for message in machine.messages():
        timer.cancel()
        timer = _start_timer(machine)
        if "sample" in message:
            samples.append(message["sample"])
        elif "stderr" in message:
            print(message["stderr"], end="", file=sys.stderr, flush=True)
        elif "end" in message:
            code = message["end"]
    timer.cancel()
    return samples, code


def _start_timer(machine: Machine) -> threading.Timer:
    timer = threading.Timer(SILENCE, machine.process.kill)
    timer.daemon = True
    timer.start()
    return timer


def _circumstances(plan: Plan, release: str) -> Result:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=PROJECT, capture_output=True, text=True
    )
    return {
        "kernel": plan.kernel,
        "release": release,
        "cpus": 1 if plan.counted else CPUS,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": described.stdout.strip(),
        "plan": dataclasses.asdict(plan),
    }
