"""A process as one record described it, and its JSON, which all of its events begin with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netmon.decode.texts import NO_PART, Part, argv_json, truncated_json
from netmon.layout import Foreign
from netmon.workload import WORKLOAD_SIZE

if TYPE_CHECKING:
    from netmon.decode.images import Cgroup, Image, Traits
    from netmon.decode.workloads import Workload
    from netmon.events import Process
    from netmon.names.cache import Origin

PROCESS_SIZE = 700  # bytes of a process beside its credentials
MORE_SIZE = 300  # bytes of what options tell, beside the ancestors
HEAD_LENGTH = 220  # characters of its JSON before its traits, and of short members
MODELS_SIZE_LIMIT = 16 << 20  # bytes of all models together
MODEL_SIZE = 4 << 10  # bytes of a model beside its texts
TAILS_SIZE_LIMIT = 8 << 20  # bytes of all rendered processes together

_EVENT = '{"type":"NetworkEvent","process":'
_PARENT_KEY = -1  # of the parent's model among those of a process, which have thread ids


class RenderedMemory:
    """Bounds the memory of what is made of the processes of a table: models, and JSON. Each is dropped together."""

    def __init__(self) -> None:
        self._with_models: list[dict[int, Process]] = []
        self._models_size = 0
        self._with_tails: list[KnownProcess] = []
        self._tails_size = 0

    def keep_model(self, holder: dict[int, Process], key: int, model: Process, size: int) -> None:
        """Keep a model in a process's dict until there are too many. size: its bytes."""
        if self._models_size + size > MODELS_SIZE_LIMIT:
            self._forget_models()
        if not holder:
            self._with_models.append(holder)
        holder[key] = model
        self._models_size += size

    def forget(self) -> None:
        """Have everything rendered again: a name was found that was not known."""
        self._forget_models()
        self._forget_tails()

    def _forget_models(self) -> None:
        for models in self._with_models:
            models.clear()
        self._with_models.clear()
        self._models_size = 0

    def _forget_tails(self) -> None:
        for holder in self._with_tails:
            holder.json_tail = ""
        self._with_tails.clear()
        self._tails_size = 0

    def keep_tail(self, process: KnownProcess, tail: str) -> None:
        """Keep a process's rendered JSON until there is too much."""
        size = sys.getsizeof(tail)
        if self._tails_size + size > TAILS_SIZE_LIMIT:
            self._forget_tails()
        self._with_tails.append(process)
        process.json_tail = tail
        self._tails_size += size


class More:
    """What some options tell of a process, beside its traits: members of its JSON."""

    __slots__ = ("_workload", "ancestors", "id")

    def __init__(self, own_id: str, workload: Workload | None = None, ancestors: Part = NO_PART) -> None:
        """Make it.

        Args:
            own_id: The member for its id, or "".
            workload: Its workload.
            ancestors: Whom it descends from.
        """
        self.id = own_id
        self._workload = workload
        self.ancestors = ancestors

    @property
    def is_own(self) -> bool:
        """Whether there is something that a parent or an opener does not tell."""
        return self._workload is not None or bool(self.ancestors.json)

    @property
    def settled(self) -> bool:
        """Whether all this stays as it is. A workload may get further names."""
        return self._workload is None or self._workload.settled

    @property
    def json(self) -> str:
        """The members that end the process's JSON. A workload may get further names."""
        return f"{self._workload.json if self._workload else ''}{self.ancestors.json}"

    @property
    def length(self) -> int:
        """Characters of all members, at most."""
        return len(self.id) + len(self.ancestors.json) + WORKLOAD_SIZE * (self._workload is not None)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return MORE_SIZE + self.ancestors.size


class KnownProcess:
    """A process as one record described it: with one executable and one set of credentials.

    All of its events begin with the same JSON, except for the thread id:

        {"type":"NetworkEvent","process":{"start_time":"...","pid":42,"tid":   json_head
                                                                          43   the thread id
        ,"ppid":1,"uid":0, ... ,"args":"..."},"parent":{ ... }                 json_tail

    Its length is bounded, for each event repeats it, and a process may have megabytes of arguments. The tail is made of
    parts when an event needs it, for many processes that have the same long texts may come without events.

    The dict and the models are read back from this JSON: each key is written in one place.
    """

    __slots__ = (
        "_alone",
        "_memory",
        "_models",
        "_more",
        "json_head",
        "json_tail",
        "length",
        "origin",
        "parent_process",
        "pid",
        "ppid",
        "size",
        "traits",
    )

    def __init__(
        self,
        pid: int,
        start_time: str,
        ppid: int,
        traits: Traits,
        parent: KnownProcess | None,
        memory: RenderedMemory,
        more: More | None = None,
    ) -> None:
        """Make a process. The keys of its JSON have the order of the model's fields.

        Args:
            pid: Its process id.
            start_time: When it started.
            ppid: Its parent's process id.
            traits: What it is, beside who.
            parent: Its parent, without that one's own. The parent may be evicted before its child.
            memory: Bounds the memory of what is rendered.
            more: What further options tell of it.
        """
        self.pid = pid
        self.json_head = f'{_EVENT}{{"start_time":"{start_time}","pid":{pid},"tid":'
        self.json_tail = ""  # of tail, as long as it is kept
        self.origin: Origin | None = None  # with the option names
        self.ppid = ppid
        self.traits = traits
        self.parent_process = parent
        self._more = more
        self._memory = memory
        self._models: dict[int, Process] = {}
        self._alone: KnownProcess | None = None
        self.length = HEAD_LENGTH + traits.length  # characters of its JSON
        # Bytes that it takes, without the sources of its traits, which others may share: they are counted apart.
        self.size = PROCESS_SIZE + len(traits.credentials)
        if parent is not None:
            self.length += parent.length
            self.size += PROCESS_SIZE
        if more is not None:
            self.length += more.length
            self.size += more.size

    @property
    def parent_traits(self) -> Traits | None:
        """Those of its parent; None without one."""
        return self.parent_process.traits if self.parent_process else None

    @property
    def image(self) -> Image:
        """What it runs."""
        return self.traits.image

    @property
    def cgroup(self) -> Cgroup:
        """Where it runs."""
        return self.traits.cgroup

    @property
    def cut(self) -> tuple[str, ...]:
        """The keys whose values are not whole."""
        return self.traits.cut + self._more.ancestors.cut if self._more else self.traits.cut

    @property
    def key(self) -> tuple[object, ...]:
        """What two descriptions of the same process have in common, if they say the same."""
        own = (self.json_head, self.ppid, self.traits.key)
        return (*own, self.parent_process.key) if self.parent_process else own

    @property
    def alone(self) -> KnownProcess:
        """This process without its parent, its workload and its ancestors: as a parent or an opener."""
        more = self._more
        if self.parent_process is None and (more is None or not more.is_own):
            return self
        if self._alone is None:
            alone = object.__new__(KnownProcess)
            for name in KnownProcess.__slots__:
                setattr(alone, name, getattr(self, name))
            alone.json_tail, alone.parent_process, alone._models = "", None, {}
            alone._more = more and More(more.id)
            alone.length -= self.parent_process.length if self.parent_process is not None else 0
            self._alone = alone
        return self._alone

    @property
    def tail(self) -> str:
        """What follows the thread id: the rest of the process, and its parent."""
        if not self.json_tail:
            tail = self._own_tail()
            self._memory.keep_tail(self, f'{tail},"parent":{self._parent_json}' if self.parent_process else tail)
        return self.json_tail

    def _own_tail(self) -> str:
        traits = self.traits
        image, cgroup, executed = traits.parts
        foreign = f',"foreign":"{format_foreign(traits.foreign)}"' if traits.foreign else ""
        argv, not_whole = _argv_member(traits) if traits.argv_room else ("", traits.cut)
        before = after = ""
        if self._more:
            before, after = self._more.id, self._more.json
            not_whole += self._more.ancestors.cut
        cut = truncated_json(not_whole) if not_whole else ""
        texts = f"{traits.credentials}{image.json}{argv}{cgroup.json}{cut}{foreign}{executed.json}"
        return f'{before},"ppid":{self.ppid}{texts}{after}}}'

    @property
    def _parent_json(self) -> str:
        parent = self.parent_process
        return parent.json(parent.pid) if parent else ""

    @property
    def settled(self) -> bool:
        """Whether its JSON stays as it is: the names of its container may be found later."""
        return self._more is None or self._more.settled

    @property
    def has_parent(self) -> bool:
        """Whether its parent is known."""
        return self.parent_process is not None

    @property
    def fields(self) -> dict[str, Any]:
        """The keys of the process, in a new dict. `tid` is 0."""
        return _parse(self.json(0))

    @property
    def parent(self) -> dict[str, Any] | None:
        """The keys of its parent, in a new dict; None without one."""
        return _parse(self._parent_json) if self.has_parent else None

    @property
    def parent_model(self) -> Process | None:
        """The model of its parent; None without one."""
        if not self.has_parent:
            return None
        return self._models.get(_PARENT_KEY) or self._parse_model(_PARENT_KEY, self._parent_json)

    def json(self, tid: int) -> str:
        """Return the process, with thread `tid`, as JSON."""
        return f"{self.json_head[len(_EVENT) :]}{tid}{self._own_tail()}"

    def json_with_parent(self) -> str:
        """Return the members `process` and `parent` of an event that belongs to no thread: `tid` is the process id."""
        return f'"process":{self.json_head[len(_EVENT) :]}{self.pid}{self.tail}'

    def model(self, tid: int) -> Process:
        """Return the process, with thread `tid`, as the pydantic model."""
        return self._models.get(tid) or self._parse_model(tid, self.json(tid))

    def _parse_model(self, key: int, json: str) -> Process:
        model = _model_parser()(json)
        self._memory.keep_model(self._models, key, model, sys.getsizeof(json) + MODEL_SIZE)
        return model


def _argv_member(traits: Traits) -> tuple[str, tuple[str, ...]]:
    """Return the member `argv`, and the keys whose values are not whole."""
    json, cut = argv_json(traits.image.argv, traits.argv_room)
    if json == "[]":  # there are no arguments, or they are not known
        return "", traits.cut
    return f',"argv":{json}', (*traits.cut, "argv") if cut or "args" in traits.cut else traits.cut


@lru_cache(maxsize=8)
def format_foreign(flags: int) -> str:
    """Return the names of a process record's foreign flags."""
    return " | ".join(flag.name.lower() for flag in Foreign if flags & flag)


def _parse(json: str) -> dict[str, Any]:
    import orjson  # imported late: slow, and start-up does not need it

    fields: dict[str, Any] = orjson.loads(json)
    return fields


@lru_cache(maxsize=1)
def _model_parser() -> Callable[[str], Process]:
    from netmon.decode.models import model_maker  # imported late: pydantic is slow, and JSON lines do not need it
    from netmon.events import Ancestor, Process, ProcessExec, Workload

    make_process, make_exec = model_maker(Process), model_maker(ProcessExec)
    make_workload, make_ancestor = model_maker(Workload), model_maker(Ancestor)
    nothing: dict[str, Any] = dict.fromkeys(Process.model_fields)
    no_names: dict[str, Any] = dict.fromkeys(Workload.model_fields)
    nobody: dict[str, Any] = dict.fromkeys(Ancestor.model_fields)

    def parse(json: str) -> Process:
        fields = {**nothing, **_parse(json)}
        if fields["exec"] is not None:
            fields["exec"] = make_exec(fields["exec"])
        if fields["workload"] is not None:
            fields["workload"] = make_workload({**no_names, **fields["workload"]})
        if fields["ancestors"] is not None:
            fields["ancestors"] = [make_ancestor({**nobody, **each}) for each in fields["ancestors"]]
        return make_process(fields)

    return parse
