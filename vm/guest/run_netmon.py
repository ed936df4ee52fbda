"""Runs netmon in the guest, with sample traffic, and relays to the host what it writes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from vm.guest.channel import Channel, serve


def run_netmon(channel: Channel) -> int:
    """Run netmon, with traffic for it to see, until the traffic or netmon ends, or the host asks it to stop."""
    task = json.loads(Path("task.json").read_text())
    read_end, write_end = open_terminal(task["columns"]) if task["columns"] else os.pipe()
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": task["term"] or "dumb"}
    command = [sys.executable, "-m", "netmon", "run", "--any-kernel", *task["arguments"]]
    netmon = subprocess.Popen(command, stdout=write_end, stderr=subprocess.PIPE, env=environment)
    os.close(write_end)
    ready = threading.Event()

    def relay(stream: IO[bytes], name: str) -> None:
        for line in lines_of(stream):
            channel.send(**{name: line.decode()})
            if line.startswith(b"netmon: ready"):
                ready.set()

    assert netmon.stderr is not None
    threads = [
        threading.Thread(target=relay, args=(stream, name))
        for stream, name in ((os.fdopen(read_end, "rb"), "stdout"), (netmon.stderr, "stderr"))
    ]
    for thread in threads:
        thread.start()
    traffic = threading.Thread(target=make_traffic, args=(netmon, ready, task["seconds"]), daemon=True)
    traffic.start()
    threading.Thread(target=stop_on_request, args=(channel, netmon), daemon=True).start()
    code = netmon.wait()
    for thread in threads:
        thread.join()
    return code


def open_terminal(columns: int) -> tuple[int, int]:
    """Open a terminal that is so wide; return the end to read from, and the one to write to."""
    master, terminal = pty.openpty()
    tty.setraw(terminal)  # the host's terminal makes line ends itself
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    return master, terminal


def lines_of(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a pipe or a terminal, which ends with an error."""
    with suppress(OSError):
        yield from stream


def stop_on_request(channel: Channel, netmon: subprocess.Popen[bytes]) -> None:
    """Stop netmon when the host sends a line."""
    os.read(channel.fd, 1)
    netmon.terminate()


def make_traffic(netmon: subprocess.Popen[bytes], ready: threading.Event, seconds: int) -> None:
    """Make a few connections a second, then stop netmon.

    wget asks nginx over IPv4 and IPv6, and a port where nobody listens; telnet connects to netcat.
    """
    ready.wait(60)
    script = """
    printf 'events {}\\nhttp { server { listen 80; listen [::]:80; } }\\n' > /tmp/nginx.conf
    nginx -c /tmp/nginx.conf
    SECONDS=0
    while [ "$SECONDS" -lt "$0" ]; do
        sleep 1
        wget -qO- http://127.0.0.1/ ; wget -qO- -6 'http://[::1]/' ; wget -qO- --tries=1 http://127.0.0.1:81/
        nc -N -l 127.0.0.1 7878 < /dev/null & sleep 0.2; telnet 127.0.0.1 7878 < /dev/null; wait $!
    done
    """
    traffic = subprocess.Popen(
        ["bash", "-c", script, str(seconds)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    traffic.wait()
    netmon.terminate()


if __name__ == "__main__":
    serve(run_netmon)
