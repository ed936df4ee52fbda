"""What netmon reports: pydantic models of the events, and the texts of their fields."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from netmon.layout import Secureexec
from netmon.schema import schema_of

CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
).split()  # capability.h, in the order of their numbers

# The runtimes' scopes (docker-ID.scope, cri-containerd-ID.scope, ...), and the bare ID of the cgroupfs drivers.
# SLICE:cri-containerd:ID: what becomes of a path meant for systemd when the runtime makes the cgroup itself.
_CONTAINER = re.compile(r"(?:[^/]*:)?(?:(?P<runtime>[a-z][a-z0-9-]*)[-:])?(?P<id>[0-9a-f]{64})(?:\.scope)?")


_CAPABILITY_TEXT = '"", "ALL_CAPS", or names joined by " | "'


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Process(_Model):
    """The process behind a connection, as it was when it made or closed it."""

    start_time: str = Field(description="When the process started: UTC, in milliseconds.")
    pid: int = Field(description="Process (thread group) id.")
    tid: int = Field(description="Id of the thread that did it.")
    ppid: int = Field(description="The parent's process id.")
    uid: int = Field(description="Real user id.")
    euid: int = Field(description="Effective user id.")
    gid: int = Field(description="Real group id.")
    egid: int = Field(description="Effective group id.")
    auid: int = Field(description="Audit (login) user id; 4294967295 when nobody logged in.")
    cap_inheritable: str = Field(description=f"Inheritable capabilities: {_CAPABILITY_TEXT}.")
    cap_permitted: str = Field(description=f"Permitted capabilities: {_CAPABILITY_TEXT}.")
    cap_effective: str = Field(description=f"Effective capabilities: {_CAPABILITY_TEXT}.")
    secureexec: str = Field(
        description="What made the program's start a privileged or unusual one: "
        '"" or SETUID, SETGID, FILE_CAPS, FILELESS_EXEC joined by " | ".'
    )
    filename: str = Field(description="The executable's own file name, symbolic links resolved.")
    binary_path: str = Field(
        description="The executable's path, seen from the process's root; "
        '" (deleted)" follows when that path is gone.'
    )
    args: str = Field(description="The arguments without argv[0], joined by spaces.")
    container_id: str | None = Field(default=None, description="The container's full id; left out on the host.")

    @model_serializer(mode="wrap")
    def _leave_out_the_host(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if self.container_id is None:
            del fields["container_id"]
        return fields


class TcpConnection(_Model):
    """What happened to a connection. saddr and sport are this host's end, daddr and dport the peer's."""

    type: Literal["TcpConnectionEstablish", "TcpConnectionAccept", "TcpConnectionClose"] = Field(
        description="A connection was asked for, accepted, or closed."
    )
    saddr: str = Field(description="This host's address.")
    daddr: str = Field(description="The peer's address.")
    sport: int = Field(ge=0, le=65535, description="This host's port.")
    dport: int = Field(ge=0, le=65535, description="The peer's port.")
    cookie: int = Field(ge=0, description="The kernel's id of the socket: pairs an opening with its close.")


class NetworkEvent(_Model):
    """One event: what happened to a TCP connection, who did it and when."""

    type: Literal["NetworkEvent"] = Field(default="NetworkEvent", description="The kind of event.")
    process: Process = Field(description="Who did it.")
    network_event: TcpConnection = Field(description="What happened.")
    timestamp: str = Field(description="When it happened: UTC, in milliseconds.")


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an event."""
    schema = schema_of(NetworkEvent)
    # `type` may be left out in Python; in JSON it never is.
    return {**schema, "required": list(schema["properties"])}


@lru_cache(maxsize=64)
def _format_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))


def format_timestamp(ns: int) -> str:
    """Return nanoseconds since the epoch as 2025-11-23T13:47:33.289Z, cut to the millisecond."""
    seconds, milliseconds = divmod(ns // 1_000_000, 1000)
    return f"{_format_seconds(seconds)}{milliseconds:03d}Z"


def format_capabilities(mask: int, last_cap: int) -> str:
    """Return a capability set's names, or ALL_CAPS when it has each up to last_cap, the kernel's last one."""
    everything = (1 << (last_cap + 1)) - 1
    if mask & everything == everything:
        return "ALL_CAPS"
    numbers = (number for number in range(mask.bit_length()) if mask >> number & 1)
    return " | ".join(f"CAP_{CAPABILITIES[number] if number < len(CAPABILITIES) else number}" for number in numbers)


def format_secureexec(flags: int) -> str:
    """Return the names of a process record's secureexec flags."""
    return " | ".join(flag.name for flag in Secureexec if flags & flag)


def format_args(argv: bytes) -> str:
    """Return argv (its strings ended by NUL) without its first, joined by spaces.

    Bytes that are not UTF-8 are escaped (\\xff). NULs at the end are dropped: a program that writes a title over
    its arguments (nginx, sshd) leaves a run of them.
    """
    _, _, rest = argv.partition(b"\0")
    return rest.rstrip(b"\0").replace(b"\0", b" ").decode(errors="backslashreplace")


def container_id_of(cgroup_path: str) -> str | None:
    """Return the full id of the innermost container that a cgroup path names; None on the host."""
    for name in reversed(cgroup_path.split("/")):
        match = _CONTAINER.fullmatch(name)
        # conmon, a container's keeper, stands in a scope of its own on the host.
        if match and not (match["runtime"] or "").endswith("conmon"):
            return match["id"]
    return None
