"""The events that netmon reports, as pydantic models. Their fields are the keys of the JSON, in the same order."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
)

from netmon.schema import schema_of
from netmon.text import escape, is_harmless

# The decoder derives these names from the kernel's enums (bpf/records.h); a test compares them.
ConnectionEventType = Literal[
    "TcpConnectionEstablish",
    "TcpConnectionAccept",
    "TcpConnectionClose",
    "TcpConnectionFail",
    "TcpConnectionExisting",
    "TcpConnectionProgress",
    "TcpConnectionName",
]
Direction = Literal["ingress", "egress"]
ClosedBy = Literal["local", "peer", "reset", "timeout"]
State = Literal[
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
]
FailureReason = Literal[
    "refused", "timeout", "unreachable", "reset", "address", "permission", "closed", "killed", "other"
]
Severity = Literal["info", "low", "medium", "high", "critical"]

NameSource = Literal["dns", "sni"]
NameScope = Literal["process", "ancestor", "connection", "cgroup", "netns"]

ATTRIBUTES = "Attributes:"  # begins the fields in a docstring

_CAPABILITY_TEXT = '"", "ALL_CAPS", or names joined by " | "'


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __pydantic_init_subclass__(cls, **_options: Any) -> None:
        """Add the fields to the docstring, for help()."""
        texts = [f"    {name}: {field.description}" for name, field in cls.model_fields.items()]
        if texts:
            cls.__doc__ = "\n".join([cls.__doc__ or "", "", ATTRIBUTES, *texts])

    def model_dump_json(self, **options: Any) -> str:
        """Return the model as JSON, harmless to whatever shows it. The options are pydantic's."""
        json = super().model_dump_json(**options)
        return json if is_harmless(json) else escape(json)


class _SparseModel(_Model):
    """A model whose dumps leave out the keys that are None."""

    @model_serializer(mode="wrap")
    def _leave_out_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {key: value for key, value in fields.items() if value is not None}


class ProcessExec(_Model):
    """What a process exec'd, as it was then: path and args may differ from what the process shows later."""

    time: str = Field(description="When: UTC, in milliseconds.")
    path: str = Field(
        description='The executable\'s path, from the root directory that the process had; " (deleted)" follows if the '
        "file had no link."
    )
    args: str = Field(description="The arguments without argv[0], joined by spaces.")
    device: str = Field(
        description="The device of the executable's file system: major:minor, as in /proc/PID/mountinfo."
    )
    inode: int = Field(ge=0, description="The executable's inode number.")


class Workload(_SparseModel):
    """Which workload a process belongs to, by name. Keys that are not known are left out."""

    pod: str | None = Field(default=None, description="The Kubernetes pod's name.")
    namespace: str | None = Field(default=None, description="The pod's Kubernetes namespace.")
    pod_uid: str | None = Field(default=None, description="The pod's uid.")
    container: str | None = Field(
        default=None, description="The container's name, or that of systemd-nspawn's machine."
    )
    image: str | None = Field(default=None, description="The container's image, as it was asked for.")
    unit: str | None = Field(
        default=None, description="The systemd unit, a service or a scope; not that of a container alone."
    )
    user: str | None = Field(default=None, description="The name that the host has for the real user id.")


class Ancestor(_SparseModel):
    """A process that another one descends from. What it runs is left out if it is not known."""

    start_time: str = Field(description="When it started: UTC, in milliseconds.")
    pid: int = Field(description="Its process id.")
    id: str | None = Field(default=None, description="Its id, as of a process.")
    filename: str | None = Field(default=None, description="Its executable's own file name.")
    args: str | None = Field(default=None, description="Its arguments without argv[0], joined by spaces.")


class Process(_SparseModel):
    """A process, as it was when it opened or closed a connection."""

    start_time: str = Field(description="When the process started: UTC, in milliseconds.")
    pid: int = Field(description="Process (thread group) id.")
    tid: int = Field(description="Id of the thread that opened or closed the connection.")
    id: str | None = Field(
        default=None,
        description="An id that no other process has, on any host: BOOT.START.PID, with the boot id, and the start in "
        "nanoseconds since the boot.",
    )
    ppid: int = Field(description="The parent's process id.")
    uid: int = Field(description="Real user id.")
    euid: int = Field(description="Effective user id.")
    gid: int = Field(description="Real group id.")
    egid: int = Field(description="Effective group id.")
    auid: int = Field(description="Audit (login) user id; 4294967295 without a login.")
    cap_inheritable: str = Field(description=f"Inheritable capabilities: {_CAPABILITY_TEXT}.")
    cap_permitted: str = Field(description=f"Permitted capabilities: {_CAPABILITY_TEXT}.")
    cap_effective: str = Field(description=f"Effective capabilities: {_CAPABILITY_TEXT}.")
    secureexec: str = Field(
        description='Why the exec was privileged or unusual: "" or SETUID, SETGID, FILE_CAPS, FILELESS_EXEC '
        'joined by " | ".'
    )
    filename: str = Field(description="The executable's own file name, symbolic links resolved.")
    binary_path: str = Field(
        description="The executable's path, as seen from the process's root directory; "
        '" (deleted)" follows if the path no longer exists.'
    )
    args: str = Field(description="The arguments without argv[0], joined by spaces.")
    argv: list[str] | None = Field(
        default=None, description="The arguments as a list, the first one too; left out if none is known."
    )
    container_id: str | None = Field(default=None, description="The container's full id; left out on the host.")
    cgroup: str | None = Field(
        default=None, description="The cgroup's path in the unified hierarchy; of a long path, the end."
    )
    truncated: str | None = Field(
        default=None,
        description="The keys whose values are not whole or unknown: filename, binary_path, args, argv, "
        'container_id, cgroup, exec, ancestors, joined by " | "; left out if all are.',
    )
    foreign: str | None = Field(
        default=None,
        description="What of the process is not the host's: mount (its mount namespace), root (its root directory), "
        "user (its user namespace: its capabilities are valid in there alone), joined by "
        '" | "; left out if nothing is.',
    )
    exec: ProcessExec | None = Field(
        default=None, description="What the process exec'd; left out if that was before netmon started."
    )
    workload: Workload | None = Field(
        default=None, description="The process's workload by name; left out if nothing of it is known."
    )
    ancestors: list[Ancestor] | None = Field(
        default=None,
        description="Who the process descended from when it was described, the parent first; the last one is process 1 "
        "if all are here.",
    )


class PeerName(_SparseModel):
    """A name of the peer's address, as a name server gave it, or as a TLS client has announced it."""

    name: str = Field(description="The name that was asked for, in small letters.")
    source: NameSource = Field(description="Where it is from: an answer of DNS, or the hello of a TLS client (SNI).")
    scope: NameScope = Field(
        description="Who received the answer: the process itself, one of its ancestors, another process of its cgroup, "
        "or of its network namespace. The latter two are guesses. Of a hello it is the connection itself."
    )
    age_ms: int | None = Field(
        default=None, ge=0, description="How many milliseconds before the connection was opened the answer came."
    )
    ech: bool | None = Field(
        default=None,
        description="True if the hello has an encrypted one in it, or a decoy of one (ECH): the name may be another "
        "server's.",
    )


class TcpConnection(_SparseModel):
    """What happened to a TCP connection. saddr and sport are this host's end, daddr and dport the peer's.

    Keys that an event of this type does not have are left out, and so are those of options that are not set.
    """

    type: ConnectionEventType = Field(
        description="A process called connect() (with `outcome`: the connection was established), accepted or closed a "
        "connection; or a connection attempt failed; or the connection was open before netmon started; or it is open, "
        "and has carried something (Progress); or its client has announced a name (Name)."
    )
    saddr: str = Field(description="This host's address.")
    daddr: str = Field(description="The peer's address.")
    sport: int = Field(ge=0, le=65535, description="This host's port.")
    dport: int = Field(ge=0, le=65535, description="The peer's port.")
    cookie: int = Field(ge=0, description="The kernel's id of the socket: the same in the opening and in the close.")
    direction: Direction | None = Field(
        default=None, description="Who opened an existing connection: this host (egress) or the peer (ingress)."
    )
    handshake_us: int | None = Field(
        default=None, ge=0, description="Microseconds from the first SYN to the established connection."
    )
    errno: str | None = Field(
        default=None, description="The name of the error that the program gets, like ECONNREFUSED, if it gets one."
    )
    reason: FailureReason | None = Field(default=None, description="Why the connection attempt failed.")
    duration_us: int | None = Field(
        default=None,
        ge=0,
        description="Microseconds from the opening to this event; left out if the connection was open before netmon "
        "started, and the kernel does not know since when.",
    )
    interval_us: int | None = Field(
        default=None, ge=0, description="Microseconds since the Progress before this one, or the opening."
    )
    bytes_sent: int | None = Field(
        default=None, ge=0, description="Payload bytes sent; in a Progress those that the peer has acknowledged."
    )
    bytes_received: int | None = Field(default=None, ge=0, description="Payload bytes received.")
    interval_bytes_sent: int | None = Field(default=None, ge=0, description="Those of bytes_sent in the interval.")
    interval_bytes_received: int | None = Field(
        default=None, ge=0, description="Those of bytes_received in the interval."
    )
    segments_retransmitted: int | None = Field(default=None, ge=0, description="Retransmitted segments.")
    rtt_us: int | None = Field(
        default=None, ge=0, description="Smoothed round-trip time in microseconds; 0 if none was measured."
    )
    closed_by: ClosedBy | None = Field(
        default=None, description="What ended the connection: this host, the peer, a reset, or no answer."
    )
    state: State | None = Field(default=None, description="The TCP state of an existing connection.")
    idle_ms: int | None = Field(
        default=None,
        ge=0,
        description="Milliseconds since an existing connection sent or received data, or was established.",
    )
    sampled: bool | None = Field(
        default=None, description="True in a Progress: its numbers are those of a look at the socket in passing."
    )
    netns: int | None = Field(default=None, ge=0, description="Inode number of the socket's network namespace.")
    ifindex: int | None = Field(
        default=None, ge=0, description="Index of the interface that the socket sends by, in its network namespace."
    )
    mark: int | None = Field(default=None, ge=0, description="The socket's mark (SO_MARK).")
    names: list[PeerName] | None = Field(
        default=None,
        description="The names that the peer's address may have been connected by, the likeliest first: up to 4 of "
        "DNS, and one of TLS; left out if none is known.",
    )
    holders: int | None = Field(
        default=None, ge=1, description="In a list of what is open: how many processes hold the connection."
    )
    other_pids: list[int] | None = Field(
        default=None,
        description="In a list of what is open: the ids of the other processes that hold the connection, up to 32; "
        "left out if there are none.",
    )


_RULES = Field(
    default=None,
    description="The rules that the connection has matched so far, in their order, at most 16; left out if there are "
    "none.",
)
_SEVERITY = Field(default=None, description="The highest severity of these rules.")
_TAGS = Field(default=None, description="The tags of these rules, at most 16; left out if they have none.")
_MESSAGE = Field(default=None, description="The message of the most severe of these rules that has one.")
_EXPECTED = Field(default=None, description="With `--expect`: false, of a connection that is not expected.")
_PARENT = Field(default=None, description="The process's parent; its `tid` is its process id.")


class NetworkEvent(_SparseModel):
    """What happened to a TCP connection, which process did it, and when."""

    type: Literal["NetworkEvent"] = Field(default="NetworkEvent", description="The type of this event.")
    process: Process = Field(description="The process that opened or closed the connection.")
    parent: Process | None = _PARENT
    opener: Process | None = Field(
        default=None, description="In a close: the process that opened the connection, if another one closed it."
    )
    network_event: TcpConnection = Field(description="What happened.")
    timestamp: str = Field(description="When it happened: UTC, in milliseconds.")
    rules: list[str] | None = _RULES
    severity: Severity | None = _SEVERITY
    tags: list[str] | None = _TAGS
    message: str | None = _MESSAGE
    expected: bool | None = _EXPECTED


class LostCounts(_SparseModel):
    """How many events were lost, by reason."""

    count: int = Field(ge=0, description="The sum of all reasons but `missed`.")
    ring_full: int = Field(ge=0, description="The ring buffer was full: the reader or its output was too slow.")
    over_budget: int = Field(
        ge=0, description="Events of cgroups that had used their share of a ring buffer that was filling up."
    )
    no_storage: int = Field(ge=0, description="The kernel had no memory to keep the connection.")
    flows_full: int = Field(ge=0, description="The table of flows was full (aggregate mode).")
    unknown_process: int = Field(ge=0, description="The event's process was not known.")
    missed: int = Field(ge=0, description="An upper bound of further events: how often the kernel skipped a probe.")
    blind_ms: int | None = Field(
        default=None,
        ge=0,
        description="Milliseconds, at most, in which the kernel ran none of netmon's programs; not in `count`.",
    )
    offenders: dict[str, int] | None = Field(
        default=None,
        description="Whose records were refused (`over_budget`), and how many: the paths of cgroups, or `uid 1000`.",
    )
    outputs: dict[str, int] | None = Field(
        default=None, description="Events that one output alone lost, by the output's name; not in `count`."
    )


class LostEvents(_Model):
    """Events were lost since the LostEvents before this one, or since the start."""

    type: Literal["LostEvents"] = Field(default="LostEvents", description="The type of this event.")
    lost_events: LostCounts = Field(description="What was lost.")
    timestamp: str = Field(description="When the loss was noticed: UTC, in milliseconds.")


class Flow(_Model):
    """What one process did in one direction with one peer and port in a period."""

    direction: Direction = Field(description="Accepted connections (ingress), or connect() (egress).")
    peer: str = Field(description="The peer's address.")
    port: int = Field(ge=0, le=65535, description="The server's port: the peer's (egress) or this host's (ingress).")
    opened: int = Field(ge=0, description="Connections opened: connect() calls, or accepted connections.")
    closed: int = Field(ge=0, description="Connections closed.")
    failed: int = Field(
        ge=0, description="connect() calls that failed at once (not in `opened`), and closes before the establishment."
    )
    bytes_sent: int = Field(ge=0, description="Payload bytes sent, by closed and by open connections.")
    bytes_received: int = Field(ge=0, description="Payload bytes received, by closed and by open connections.")
    duration_us: int = Field(
        ge=0, description="Microseconds from opening to close, summed over the closed connections."
    )


class NetworkSummary(_SparseModel):
    """A flow's totals of one period (aggregate mode)."""

    type: Literal["NetworkSummary"] = Field(default="NetworkSummary", description="The type of this event.")
    process: Process = Field(description="The process; its `tid` is its process id.")
    parent: Process | None = _PARENT
    flow: Flow = Field(description="The totals.")
    period_start: str = Field(description="When the period began: UTC, in milliseconds.")
    timestamp: str = Field(description="When the period ended: UTC, in milliseconds.")
    rules: list[str] | None = _RULES
    severity: Severity | None = _SEVERITY
    tags: list[str] | None = _TAGS
    message: str | None = _MESSAGE
    expected: bool | None = _EXPECTED


Event = NetworkEvent | LostEvents | NetworkSummary


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a line of netmon's output: an event of any type."""
    schema = schema_of(TypeAdapter(Annotated[Event, Field(discriminator="type")]))
    for part in schema["$defs"].values():  # it has descriptions of the fields itself
        part["description"] = part["description"].partition(ATTRIBUTES)[0].rstrip()
    for model in get_args(Event):
        # The models have a default for `type`. Every line has the key.
        part = schema["$defs"][model.__name__]
        part["required"] = ["type", *part["required"]]
    return {**schema, "description": "A line of netmon's output."}
