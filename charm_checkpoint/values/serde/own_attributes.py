"""The attributes that a plain class gives each of its objects, as its ``__init__`` says: read as data, never run."""

from __future__ import annotations

import dis
import types

from charm_checkpoint.values.serde.class_reading import mro_of, space_of_class

_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})


def assigned_attributes(cls: type) -> frozenset[str]:
    """Return the attributes that the ``__init__`` of a class or of its bases sets on every object.

    What a method sets that is called there is not among them.
    """
    found: set[str] = set()
    for base in mro_of(cls):
        made = space_of_class(base).get("__init__")
        if type(made) is types.FunctionType:
            found |= _assigned(made.__code__)
    return frozenset(found)


def _assigned(code: types.CodeType) -> set[str]:
    if not code.co_argcount:
        return set()
    me, found, before, skipped = code.co_varnames[0], set(), None, 0
    for step in dis.get_instructions(code):
        if step.opname == "EXTENDED_ARG":
            continue
        if step.opcode in _JUMPS and type(step.argval) is int:
            skipped = max(skipped, step.argval)  # what stands before is not always done
        if step.opname == "STORE_ATTR" and step.offset >= skipped and before is not None:
            loaded = before.argval[-1] if type(before.argval) is tuple else before.argval
            if loaded == me and "LOAD" in before.opname:
                found.add(step.argval)
        before = step
    return found
