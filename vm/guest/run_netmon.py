"""Runs netmon in the guest, with sample traffic, and relays to the host what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from vm.guest.channel import Channel, serve

ROUNDS_OF_TRAFFIC = 600


def run_netmon(channel: Channel) -> int:
    """Run netmon, with traffic for it to see, until it ends or the host asks it to stop."""
    arguments = json.loads(Path("arguments.json").read_text())
    netmon = subprocess.Popen(
        [sys.executable, "-m", "netmon", "run", "--any-kernel", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ready = threading.Event()

    def relay(stream: IO[bytes], name: str) -> None:
        for line in stream:
            channel.send(**{name: line.decode()})
            if line.startswith(b"netmon: ready"):
                ready.set()

    assert netmon.stdout is not None and netmon.stderr is not None
    threads = [
        threading.Thread(target=relay, args=(stream, name))
        for stream, name in ((netmon.stdout, "stdout"), (netmon.stderr, "stderr"))
    ]
    for thread in threads:
        thread.start()
    traffic = threading.Thread(target=make_traffic, args=(netmon, ready), daemon=True)
    traffic.start()
    threading.Thread(target=stop_on_request, args=(channel, netmon), daemon=True).start()
    code = netmon.wait()
    for thread in threads:
        thread.join()
    return code


def stop_on_request(channel: Channel, netmon: subprocess.Popen[bytes]) -> None:
    """Stop netmon when the host sends a line."""
    os.read(channel.fd, 1)
    netmon.terminate()


def make_traffic(netmon: subprocess.Popen[bytes], ready: threading.Event) -> None:
    """Make a few connections a second, then stop netmon: wget from nginx over IPv4 and IPv6, telnet to netcat."""
    ready.wait(60)
    script = """
    printf 'events {}\\nhttp { server { listen 80; listen [::]:80; } }\\n' > /tmp/nginx.conf
    nginx -c /tmp/nginx.conf
    for _ in $(seq "$0"); do
        sleep 1
        wget -qO- http://127.0.0.1/ ; wget -qO- -6 'http://[::1]/'
        nc -N -l 127.0.0.1 7878 < /dev/null & sleep 0.2; telnet 127.0.0.1 7878 < /dev/null; wait $!
    done
    """
    traffic = subprocess.Popen(
        ["bash", "-c", script, str(ROUNDS_OF_TRAFFIC)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    traffic.wait()
    netmon.terminate()


if __name__ == "__main__":
    serve(run_netmon)
