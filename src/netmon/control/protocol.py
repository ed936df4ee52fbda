"""What a client and the control socket say to each other: a line of JSON each.

A request is `{"command": "status"}`. The answer is `{"ok": true, "answer": ...}`, or `{"ok": false, "error": "why"}`.
Readers ignore keys that they do not know.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from netmon.errors import NetmonError, shown

MAX_REQUEST = 4096  # bytes
MAX_ANSWER = 16 << 20  # bytes: more than the counts of a thousand rules take
ASK_LIMIT = 5.0  # seconds
PIECE = 1 << 16


def read_line(connection: socket.socket, limit: int, seconds: float) -> bytes:
    """Return a line without its end.

    Args:
        connection: A stream.
        limit: Bytes that it may have.
        seconds: How long it may take, all in all.

    Raises:
        TimeoutError: It took longer.
        ValueError: It is longer, or cut off.
        OSError: The connection has broken.
    """
    deadline = time.monotonic() + seconds
    data = b""
    while b"\n" not in data:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(min(PIECE, limit + 1 - len(data)))
        if not piece:
            raise ValueError("is cut off")
        data += piece
        if len(data) > limit:
            raise ValueError("is too long")
    return data.partition(b"\n")[0]


def to_line(value: object) -> bytes:
    """Return a value as a line of JSON."""
    return json.dumps(value).encode() + b"\n"


def from_line(line: bytes) -> dict[str, Any]:
    """Return what a line of JSON says. Raises ValueError if it is no object of JSON."""
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("is no object")
    return value


def ask(path: str, command: str, seconds: float = ASK_LIMIT) -> dict[str, Any]:
    """Ask a netmon that runs.

    Args:
        path: Its control socket.
        command: What to ask for.
        seconds: How long to wait for the answer.

    Returns:
        The answer.

    Raises:
        NetmonError: Nobody answers, or the answer is an error; the message says what to do.
    """
    name = shown(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(path)
            connection.sendall(to_line({"command": command}))
            answer = from_line(read_line(connection, MAX_ANSWER, seconds))
    except FileNotFoundError:
        raise NetmonError(f"{name}: is not there: start netmon run with --control {name}, or name its socket") from None
    except ConnectionRefusedError:
        raise NetmonError(f"{name}: nobody serves it any more: netmon has ended") from None
    except PermissionError:
        raise NetmonError(f"{name}: only root, netmon's own user and the socket's group may ask: try sudo") from None
    except TimeoutError:
        raise NetmonError(f"{name}: netmon does not answer within {seconds:.0f} seconds") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"the answer {error}"
        raise NetmonError(f"{name}: {reason or error}") from None
    if answer.get("ok") is not True:
        raise NetmonError(str(answer.get("error") or f"{name}: the answer is none of netmon's"))
    result = answer.get("answer")
    return result if isinstance(result, dict) else {}
