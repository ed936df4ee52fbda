"""Runs netmon, or a shell, in a guest: `build.py run` where this kernel cannot run netmon, and `build.py shell`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vm.archive import KERNELS

DEFAULT_KERNEL = "6.12"
DEFAULT_SECONDS = 60
SCRIPT = "shell-input"  # guest/init runs it, if it is there


def shell(kernel: str) -> int:
    """Run a shell in a guest; `exit`, Ctrl-D or Ctrl-A X ends it. What comes from no terminal is run as a script."""
    from vm.qemu import SHELL, Machine  # needs packages that .venv has, and the help does not

    # A guest's serial port knows no end of the input, for which the shell would wait.
    files = {} if sys.stdin.isatty() else {SCRIPT: sys.stdin.buffer.read()}
    machine = Machine(kernel, SHELL, files)
    code = machine.process.wait()
    machine.close()
    return code


def run(kernel: str, seconds: int, arguments: Sequence[str]) -> int:
    """Run netmon in a guest, with so many seconds of sample traffic.

    Its events are written to standard output and its messages to standard error. If standard output is a terminal,
    netmon has one in the guest, too, which is as wide.
    """
    from vm.qemu import Machine

    arguments, files = with_config(arguments)
    task = {"arguments": arguments, "seconds": seconds, "columns": terminal_columns(), "term": os.environ.get("TERM")}
    print(f"guest: starting Linux {kernel}; the first time it is downloaded", file=sys.stderr, flush=True)
    machine = Machine(kernel, "vm.guest.run_netmon", {"task.json": json.dumps(task).encode(), **files})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: machine.send("stop"))
    code = 1
    try:
        for message in machine.messages():
            if "stdout" in message:
                print(message["stdout"], end="", flush=True)
            elif "stderr" in message:
                print(message["stderr"], end="", file=sys.stderr, flush=True)
            else:
                code = message["end"]
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    finally:
        machine.close()
    return code


def terminal_columns() -> int:
    """Return how wide standard output is; 0 if it is no terminal."""
    return os.get_terminal_size(1).columns or 80 if os.isatty(1) else 0


def with_config(arguments: Sequence[str]) -> tuple[list[str], dict[str, bytes]]:
    """Return netmon's arguments, in which --config names a copy in the guest, and that copy."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--config", type=Path)
    options, rest = parser.parse_known_args(arguments)
    if options.config is None or not options.config.is_file():
        return list(arguments), {}
    name = options.config.name
    return [*rest, "--config", name], {name: options.config.read_bytes()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, and pass those that are unknown here to netmon."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        allow_abbrev=False,
        description="In a QEMU guest, run netmon with sample traffic (run), or a shell that has netmon (shell).",
    )
    parser.add_argument("mode", choices=("run", "shell"))
    parser.add_argument("--kernel", choices=tuple(KERNELS), default=DEFAULT_KERNEL)
    parser.add_argument("--seconds", type=int, default=DEFAULT_SECONDS, help="end after so much sample traffic")
    options, rest = parser.parse_known_args(arguments)
    if options.mode == "shell" and rest:
        parser.error(f"{rest[0]}: build.py shell does not take it")
    return shell(options.kernel) if options.mode == "shell" else run(options.kernel, options.seconds, rest)


if __name__ == "__main__":
    sys.exit(main())
