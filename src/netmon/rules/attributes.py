"""What conditions can compare: one table. A new attribute is one entry, if events have its value.

An attribute's value is made of an event's keys. None is its value if the event does not have it: then a comparison is
neither true nor false.
"""

# Without `from __future__ import annotations`: NamedTuple compiles annotations that are text, which delays the start.

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from netmon.capabilities import CAPABILITIES
from netmon.config.checks import check_cgroup, check_container_id, check_host, check_name, check_path, check_prefix
from netmon.peer_names import certain_name
from netmon.rules.scripts import script_of
from netmon.rules.sets import ADDRESS_END, IPV6_BEGIN, Range, Ranges

Json = Mapping[str, Any]

DELETED = " (deleted)"
IPV4_SIZE = 4  # bytes of an address
SUMMARY = "summary"  # the event type of aggregates
EVENT_TYPES = ("establish", "accept", "close", "fail", "existing", "progress", "name", SUMMARY)
OPENINGS = ("establish", "accept", "existing")
LATER = ("close", "progress", "name")  # of connections that have an opening

_ONE_U16, _ONE_U32, _ONE_U64 = ((0, (1 << bits) - 1) for bits in (16, 32, 64))


class Facts(NamedTuple):
    """What an event says of its connection.

    Attributes:
        kind: Of EVENT_TYPES.
        direction: None if it is unknown.
        saddr: This host's address, packed; None if the event has none.
        daddr: The peer's.
        sport: This host's port.
        dport: The peer's.
        details: The further keys.
    """

    kind: str
    direction: str | None
    saddr: bytes | None
    daddr: bytes | None
    sport: int | None
    dport: int | None
    details: Json


def make_facts(fields: tuple[Any, ...]) -> Facts:
    """Return Facts, in half the time that their own constructor takes."""
    return tuple.__new__(Facts, fields)


class Kind(NamedTuple):
    """A type of values.

    Attributes:
        name: For messages: "must be ...".
        form: How values are read: `number`, `duration`, `size`, `address`, `text`, `choice`, `flags`.
        universe: All numbers that a value can be.
        choices: All texts that a value can be.
        separator: Of texts, between the parts that a `*` does not cross.
        prefix: Whether `==` and `in` ask how a text begins.
        check: Raises ValueError for a text that no value is.
    """

    name: str
    form: str
    universe: Ranges = ()
    choices: tuple[str, ...] = ()
    separator: str = ""
    prefix: bool = False
    check: Callable[[str], str] | None = None

    @property
    def is_number(self) -> bool:
        """Whether values are numbers on a line."""
        return bool(self.universe)


def _numbers(name: str, form: str, limits: Range) -> Kind:
    return Kind(name, form, (limits,))


def _choice(*choices: str) -> Kind:
    return Kind(f"one of {', '.join(choices)}", "choice", choices=choices)


PORT = _numbers("a port, from 0 to 65535", "number", _ONE_U16)
ID = _numbers("a number from 0 to 4294967295", "number", _ONE_U32)
COUNT = _numbers("a number", "number", _ONE_U64)
SIZE = _numbers("a size, like 65536, 64K or 4M", "size", _ONE_U64)
DURATION = _numbers("a duration, like 500ms, 10s or 5m", "duration", _ONE_U64)
IP = _numbers("an address or a CIDR in double quotes", "address", (0, ADDRESS_END - 1))
IPV4 = _numbers("an IPv4 address or CIDR in double quotes", "address", (0, IPV6_BEGIN - 1))
IPV6 = _numbers("an IPv6 address or CIDR in double quotes", "address", (IPV6_BEGIN, ADDRESS_END - 1))
TEXT = Kind("text in double quotes", "text")
NAME = Kind("a file name in double quotes", "text", check=check_name)
PATH = Kind("a path in double quotes", "text", separator="/", check=check_path)
PREFIX = Kind("the beginning of a path in double quotes", "text", separator="/", prefix=True, check=check_prefix)
CGROUP = Kind("a cgroup's path in double quotes", "text", separator="/", check=check_cgroup)
CONTAINER = Kind("a container's id in double quotes", "text", prefix=True, check=check_container_id)
ANCESTOR = Kind("a file name in double quotes", "flags", check=check_name)
DOMAIN = Kind("a host's name in double quotes", "text", separator=".", check=check_host)
SECUREEXEC = Kind("a flag", "flags", choices=("SETUID", "SETGID", "FILE_CAPS", "FILELESS_EXEC"))
CAPABILITY = Kind("a capability, like CAP_NET_RAW", "flags", choices=tuple(f"CAP_{name}" for name in CAPABILITIES))


class Attribute(NamedTuple):
    """What a condition can compare.

    Attributes:
        kind: Its type.
        help: What it is, for the documentation.
        of_process: Returns its value, of the keys `process` and `parent` of an event; None if it is not a process's.
        of_event: Returns its value of what an event says of its connection.
        events: The events that can have it.
        needs: The report options of which at least one must be on for events to have it.
        key: The attribute whose value it is: `ipv4_dst` is `ip_dst`, in as far as that is IPv4.
        varies: Whether another event of the same connection may have another value.
        json: The keys of events that it is made of, for messages.
    """

    kind: Kind
    help: str
    of_process: Callable[[Json, Json | None], Any] | None = None
    of_event: Callable[[Facts], Any] | None = None
    events: tuple[str, ...] = EVENT_TYPES
    needs: tuple[str, ...] = ()
    key: str = ""
    varies: bool = False
    json: tuple[str, ...] = ()


def _process(name: str, kind: Kind, help: str, needs: tuple[str, ...] = ()) -> Attribute:
    """Return the attribute that is a key of the process."""
    return Attribute(kind, help, of_process=lambda process, _: process.get(name), needs=needs, json=(name,))


def _detail(
    name: str,
    kind: Kind,
    help: str,
    events: tuple[str, ...],
    needs: tuple[str, ...],
    *,
    factor: int = 1,
    varies: bool = True,
) -> Attribute:
    """Return the attribute that is a key of the connection. factor: to microseconds."""

    def value(facts: Facts) -> Any:
        found = facts.details.get(name)
        return found * factor if factor != 1 and found is not None else found

    return Attribute(kind, help, of_event=value, events=events, needs=needs, varies=varies, json=(name,))


def path_of(process: Json | None) -> str | None:
    """Return the path of a process's executable, without the mark of a deleted one; None if it is not known whole."""
    return (_whole("binary_path", process) or "").removesuffix(DELETED) or None


def _name_of(process: Json | None) -> str | None:
    return _whole("filename", process) or None


def _whole(key: str, process: Json | None) -> str | None:
    """Return a text of a process; None if the event does not have it, or a part of it alone."""
    if process is None or key in process.get("truncated", "").split(" | "):
        return None
    value: str | None = process.get(key)
    return value


def _executable(process: Json, _parent: Json | None) -> str | None:
    if "FILELESS_EXEC" in process["secureexec"]:
        return "memory"
    path = process["binary_path"]
    if not path:
        return None
    return "deleted" if path.endswith(DELETED) else "file"


def _script(process: Json, _parent: Json | None) -> str | None:
    name = _name_of(process)
    if name is None:
        return None
    return script_of(name, process.get("args") or "", whole="args" not in process.get("truncated", "").split(" | "))


def _ancestor_names(process: Json, _parent: Json | None) -> frozenset[str] | None:
    """Return the names of a process's ancestors; None if none is known."""
    names = (ancestor.get("filename") for ancestor in process.get("ancestors") or ())
    return frozenset(name for name in names if name) or None


def _of_workload(name: str) -> Callable[[Json, Json | None], Any]:
    return lambda process, _: (process.get("workload") or {}).get(name)


@lru_cache(maxsize=256)
def _flags(text: str) -> frozenset[str]:
    return frozenset(CAPABILITY.choices if text == "ALL_CAPS" else text.split(" | ") if text else ())


@lru_cache(maxsize=4096)
def address_number(packed: bytes | None) -> int | None:
    """Return an address as the number that it is in a set."""
    if packed is None:
        return None
    number = int.from_bytes(packed, "big")
    return number if len(packed) == IPV4_SIZE else IPV6_BEGIN + number


def _sum_of_bytes(facts: Facts) -> int | None:
    sent, received = facts.details.get("bytes_sent"), facts.details.get("bytes_received")
    return None if sent is None or received is None else sent + received


def _workload_text(name: str, help: str) -> Attribute:
    """Return the attribute that is a name of the workload."""
    return Attribute(TEXT, help, of_process=_of_workload(name), needs=("workload",), json=(name,))


def _address(kind: Kind, end: str, help: str) -> Attribute:
    if end == "src":
        return Attribute(kind, help, of_event=lambda facts: address_number(facts.saddr), key="ip_src", json=("saddr",))
    return Attribute(kind, help, of_event=lambda facts: address_number(facts.daddr), key="ip_dst", json=("daddr",))


_MEASURED = ("close", "progress", "existing", SUMMARY)
_STATISTICS = ("statistics", "progress")
_TRAFFIC = (*_STATISTICS, "aggregate")
_OUTCOME = ("outcome",)
_CONTEXT = ("context",)
_CONNECTIONS = EVENT_TYPES[:-1]

ATTRIBUTES: dict[str, Attribute] = {
    # The reference's, of the scope.
    "binary_path": Attribute(
        PATH,
        "the executable's path; of a deleted one the path that it had",
        of_process=lambda process, _: path_of(process),
        json=("binary_path", "path"),
    ),
    "binary_name": Attribute(
        NAME, "the executable's file name", of_process=lambda process, _: _name_of(process), json=("filename", "name")
    ),
    "binary_prefix": Attribute(
        PREFIX,
        "how the executable's path begins",
        of_process=lambda process, _: path_of(process),
        key="binary_path",
    ),
    "parent_binary_path": Attribute(
        PATH, "the path of the parent's executable", of_process=lambda _, parent: path_of(parent), needs=("parent",)
    ),
    "parent_binary_name": Attribute(
        NAME,
        "the file name of the parent's executable",
        of_process=lambda _, parent: _name_of(parent),
        needs=("parent",),
    ),
    "parent_binary_prefix": Attribute(
        PREFIX,
        "how the path of the parent's executable begins",
        of_process=lambda _, parent: path_of(parent),
        needs=("parent",),
        key="parent_binary_path",
    ),
    # Further ones of the process.
    "executable": Attribute(
        _choice("file", "deleted", "memory"),
        "where the executable is: in a file, in one that has been deleted since, in memory alone (memfd)",
        of_process=_executable,
    ),
    "ancestor_binary_name": Attribute(
        ANCESTOR,
        "the file names of the executables of the parent, its parent and so on; true if any of them is equal",
        of_process=_ancestor_names,
        needs=("ancestors",),
    ),
    "script": Attribute(
        TEXT,
        "of an interpreter, the script that its arguments name; -m NAME of a module, -c of a program in them",
        of_process=_script,
    ),
    "args": _process("args", TEXT, "the arguments without argv[0], joined by spaces"),
    "uid": _process("uid", ID, "the real user id"),
    "euid": _process("euid", ID, "the effective user id"),
    "gid": _process("gid", ID, "the real group id"),
    "egid": _process("egid", ID, "the effective group id"),
    "auid": _process("auid", ID, "the audit (login) user id; 4294967295 without a login"),
    "pid": _process("pid", ID, "the process id"),
    "ppid": _process("ppid", ID, "the parent's process id"),
    "secureexec": Attribute(
        SECUREEXEC,
        "why the exec was privileged or unusual; true if any of the flags is set",
        of_process=lambda process, _: _flags(process["secureexec"]),
    ),
    "capabilities": Attribute(
        CAPABILITY,
        "the effective capabilities; true if the process has any of them",
        of_process=lambda process, _: _flags(process["cap_effective"]),
        json=("cap_effective",),
    ),
    "container_id": Attribute(
        CONTAINER,
        "the container's id, or its first 12 digits or more; unknown on the host",
        of_process=lambda process, _: _whole("container_id", process),
    ),
    "cgroup": Attribute(
        CGROUP, "the cgroup's path", of_process=lambda process, _: _whole("cgroup", process), needs=_CONTEXT
    ),
    "pod": _workload_text("pod", "the name of the Kubernetes pod"),
    "namespace": _workload_text("namespace", "the Kubernetes namespace of the pod"),
    "container": _workload_text("container", "the name of the container; unknown on the host"),
    "image": _workload_text("image", "the image of the container, as it was asked for"),
    "unit": _workload_text("unit", "the systemd unit, like nginx.service"),
    "user": _workload_text("user", "the name of the real user"),
    # The reference's, of the event.
    "ipv4_src": _address(IPV4, "src", "this host's address, if it is IPv4"),
    "ipv4_dst": _address(IPV4, "dst", "the peer's address, if it is IPv4"),
    "ipv6_src": _address(IPV6, "src", "this host's address, if it is IPv6"),
    "ipv6_dst": _address(IPV6, "dst", "the peer's address, if it is IPv6"),
    "port_src": Attribute(PORT, "this host's port", of_event=lambda facts: facts.sport, json=("sport", "src_port")),
    "port_dst": Attribute(PORT, "the peer's port", of_event=lambda facts: facts.dport, json=("dport", "dst_port")),
    # Further ones of the event.
    "ip_src": _address(IP, "src", "this host's address, of either family"),
    "ip_dst": _address(IP, "dst", "the peer's address, of either family"),
    "direction": Attribute(
        _choice("egress", "ingress"),
        "who opened the connection: this host (egress) or the peer; of a close it is that of its opening",
        of_event=lambda facts: facts.direction,
    ),
    "event_type": Attribute(
        _choice(*EVENT_TYPES), "what happened", of_event=lambda facts: facts.kind, varies=True, json=("type",)
    ),
    "domain": Attribute(
        DOMAIN,
        "the peer's name, as DNS has told it the process or an ancestor of it, or else as the TLS client announces it",
        of_event=lambda facts: certain_name(facts.details),
        events=("establish", "fail", "progress", "close", "name"),
        needs=("names", "sni"),
        json=("names",),
    ),
    "netns": _detail("netns", ID, "the inode number of the network namespace", _CONNECTIONS, _CONTEXT, varies=False),
    "ifindex": _detail("ifindex", ID, "the index of the interface", _CONNECTIONS, _CONTEXT),
    "mark": _detail("mark", ID, "the socket's mark (SO_MARK)", _CONNECTIONS, _CONTEXT),
    "handshake": _detail(
        "handshake_us", DURATION, "from the first SYN to the established connection", ("establish",), _OUTCOME
    ),
    "reason": _detail(
        "reason",
        _choice("refused", "timeout", "unreachable", "reset", "address", "permission", "closed", "killed", "other"),
        "why the attempt failed",
        ("fail",),
        _OUTCOME,
    ),
    "errno": _detail("errno", TEXT, "the name of the attempt's error, like ECONNREFUSED", ("fail",), _OUTCOME),
    "duration": _detail(
        "duration_us", DURATION, "from the opening to this event", ("close", "progress", "existing"), _STATISTICS
    ),
    "bytes": Attribute(
        SIZE,
        "payload bytes sent and received; of an aggregate those of its period",
        of_event=_sum_of_bytes,
        events=_MEASURED,
        needs=_TRAFFIC,
        varies=True,
    ),
    "bytes_sent": _detail("bytes_sent", SIZE, "payload bytes sent, likewise", _MEASURED, _TRAFFIC),
    "bytes_received": _detail("bytes_received", SIZE, "payload bytes received, likewise", _MEASURED, _TRAFFIC),
    "segments_retransmitted": _detail(
        "segments_retransmitted", COUNT, "retransmitted segments", ("close", "progress", "existing"), _STATISTICS
    ),
    "rtt": _detail("rtt_us", DURATION, "the smoothed round-trip time", ("close", "progress", "existing"), _STATISTICS),
    "closed_by": _detail(
        "closed_by",
        _choice("local", "peer", "reset", "timeout"),
        "what ended the connection",
        ("close",),
        ("statistics",),
    ),
}


def key_of(name: str) -> str:
    """Return the attribute whose value an attribute is."""
    return ATTRIBUTES[name].key or name


def is_of_process(name: str) -> bool:
    """Return whether an attribute is the process's."""
    return ATTRIBUTES[name].of_process is not None
