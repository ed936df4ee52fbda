"""What netmon reports: pydantic models of the events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
)

from netmon.schema import schema_of

_CAPABILITY_TEXT = '"", "ALL_CAPS", or names joined by " | "'


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _LeavesOut(_Model):
    """Keys that are None are left out when it is written."""

    @model_serializer(mode="wrap")
    def _leave_out_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {key: value for key, value in fields.items() if value is not None}


class Process(_LeavesOut):
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
    cgroup: str | None = Field(
        default=None, description="The cgroup's path in the unified hierarchy; of a long one, its end."
    )


class TcpConnection(_LeavesOut):
    """What happened to a connection. saddr and sport are this host's end, daddr and dport the peer's.

    Each event leaves out what it cannot tell, and what was not asked for (`outcome`, `statistics`, `context`).
    """

    type: Literal[
        "TcpConnectionEstablish",
        "TcpConnectionAccept",
        "TcpConnectionClose",
        "TcpConnectionFail",
        "TcpConnectionExisting",
    ] = Field(
        description="A connection was asked for (with `outcome`: and established), accepted, or closed; or it failed; "
        "or it was there before the start."
    )
    saddr: str = Field(description="This host's address.")
    daddr: str = Field(description="The peer's address.")
    sport: int = Field(ge=0, le=65535, description="This host's port.")
    dport: int = Field(ge=0, le=65535, description="The peer's port.")
    cookie: int = Field(ge=0, description="The kernel's id of the socket: pairs an opening with its close.")
    direction: Literal["ingress", "egress"] | None = Field(
        default=None, description="Of a connection that was there before: accepted, or asked for."
    )
    handshake_us: int | None = Field(
        default=None, ge=0, description="From the request to the connection, in microseconds."
    )
    errno: str | None = Field(
        default=None, description="The failure's name, like ECONNREFUSED, if the process saw one."
    )
    reason: (
        Literal["refused", "timeout", "unreachable", "reset", "address", "permission", "closed", "killed", "other"]
        | None
    ) = Field(default=None, description="Why it failed.")
    duration_us: int | None = Field(default=None, ge=0, description="From opening to close, in microseconds.")
    bytes_sent: int | None = Field(default=None, ge=0, description="Payload sent.")
    bytes_received: int | None = Field(default=None, ge=0, description="Payload received.")
    segments_retransmitted: int | None = Field(default=None, ge=0, description="Segments sent again.")
    rtt_us: int | None = Field(default=None, ge=0, description="Round trip time, smoothed, in microseconds; 0: none.")
    closed_by: Literal["local", "peer", "reset", "timeout"] | None = Field(
        default=None, description="What ended it: this end, the peer, a reset, or no answer."
    )
    netns: int | None = Field(default=None, ge=0, description="Inode number of the socket's network namespace.")
    ifindex: int | None = Field(
        default=None, ge=0, description="The interface that it sends by, as its network namespace numbers it."
    )
    mark: int | None = Field(default=None, ge=0, description="The socket's mark (SO_MARK).")


_PARENT = Field(default=None, description="Its parent, when it was described; `tid` is the process id.")


class NetworkEvent(_LeavesOut):
    """One event: what happened to a TCP connection, who did it and when."""

    type: Literal["NetworkEvent"] = Field(default="NetworkEvent", description="The kind of event.")
    process: Process = Field(description="Who did it.")
    parent: Process | None = _PARENT
    opener: Process | None = Field(
        default=None, description="Of a close: who opened the connection, if that was another process."
    )
    network_event: TcpConnection = Field(description="What happened.")
    timestamp: str = Field(description="When it happened: UTC, in milliseconds.")


class Losses(_LeavesOut):
    """How many events were lost, by reason."""

    count: int = Field(ge=0, description="All of them, without `missed` and `outputs`.")
    ring_full: int = Field(ge=0, description="The reader, or who reads its output, was too slow.")
    no_storage: int = Field(ge=0, description="The kernel had no memory to keep the connection.")
    flows_full: int = Field(ge=0, description="There were too many flows to sum up in a period.")
    unknown_process: int = Field(ge=0, description="The process was not known.")
    missed: int = Field(ge=0, description="At most so many more: runs of a probe that the kernel skipped.")
    outputs: dict[str, int] | None = Field(
        default=None, description="Events that single outputs lost, by the output's name."
    )


class LostEvents(_Model):
    """Events were lost since the last time this was told, or since the start."""

    type: Literal["LostEvents"] = Field(default="LostEvents", description="The kind of event.")
    lost_events: Losses = Field(description="What was lost.")
    timestamp: str = Field(description="When it was noticed: UTC, in milliseconds.")


class Flow(_Model):
    """What one process did in one direction with one peer and port in a period."""

    direction: Literal["ingress", "egress"] = Field(description="Accepted connections, or ones asked for.")
    peer: str = Field(description="The peer's address.")
    port: int = Field(ge=0, le=65535, description="The port connected to: the peer's (egress), this host's (ingress).")
    opened: int = Field(ge=0, description="Connections asked for or accepted.")
    closed: int = Field(ge=0, description="Connections closed.")
    failed: int = Field(ge=0, description="Requests that failed at once (not in `opened`) or by the close.")
    bytes_sent: int = Field(ge=0, description="Payload sent by those closed.")
    bytes_received: int = Field(ge=0, description="Payload received by those closed.")
    duration_us: int = Field(ge=0, description="From opening to close, of those closed, in microseconds.")


class NetworkSummary(_LeavesOut):
    """A flow of one period, in aggregate mode."""

    type: Literal["NetworkSummary"] = Field(default="NetworkSummary", description="The kind of event.")
    process: Process = Field(description="Who did it; `tid` is the process id.")
    parent: Process | None = _PARENT
    flow: Flow = Field(description="What was summed up.")
    period_start: str = Field(description="When the period began: UTC, in milliseconds.")
    timestamp: str = Field(description="When the period ended: UTC, in milliseconds.")


Event = NetworkEvent | LostEvents | NetworkSummary

EVENT_MODELS: dict[str, type[Event]] = {
    "NetworkEvent": NetworkEvent,
    "LostEvents": LostEvents,
    "NetworkSummary": NetworkSummary,
}


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a line that netmon writes: an event of any type."""
    schema = schema_of(TypeAdapter(Annotated[Event, Field(discriminator="type")]))
    for name in EVENT_MODELS:
        # `type` may be left out in Python; in JSON it never is.
        part = schema["$defs"][name]
        part["required"] = ["type", *part["required"]]
    return {**schema, "description": "A line of netmon's output."}
