"""Functions of the standard library as they were before gevent or eventlet patched them.

Both remove or replace what could block their only thread. netmon needs the functions themselves, and binds them when it
is imported, for a program may patch before or after that.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def unpatched(module: ModuleType, *names: str) -> list[Any]:
    """Return functions or classes of a module that is written in C, whether it has been patched or not."""
    found = [getattr(module, name, None) for name in names]
    if all(getattr(one, "__module__", None) == module.__name__ for one in found):
        return found
    from importlib.util import find_spec, module_from_spec  # imported late: slow, and seldom needed

    spec = find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    another = module_from_spec(spec)  # a second instance of the module, which nobody has patched
    spec.loader.exec_module(another)
    return [getattr(another, name) for name in names]
