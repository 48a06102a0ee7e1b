"""What a field becomes of which nothing is stored: its default, as long as that takes no call of the program's code."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
import types
import typing
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_reading import (
    attribute,
    derives,
    module_of,
    name_in_code,
    owner,
    path_of,
    qualname_of,
)

NOTHING: Any = object()
"""The default of what has none."""

# What they make is empty, or a thing that can never be stored. By id: a program's factory may have its own hash.
_FACTORIES: dict[int, Callable[[], Any]] = {
    id(make): make
    for make in (
        *(list, dict, set, tuple, frozenset, str, bytes, bytearray, int, float, complex, bool, object),
        *(deque, OrderedDict, Counter, defaultdict, ChainMap, types.SimpleNamespace),
        *(threading.Lock, threading.RLock, threading.Event, threading.Condition, threading.local),
        *(asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Queue, queue.Queue, queue.SimpleQueue),
        *(threading.Semaphore, threading.BoundedSemaphore, asyncio.Semaphore, asyncio.BoundedSemaphore),
    )
}


def harmless(factory: Any) -> Callable[[], Any] | None:
    """Return what stands for a factory if it is one of the fixed table, one with types in brackets, or a TypedDict."""
    kind = type(factory)
    if qualname_of(kind) == "_TypedDictMeta" and module_of(kind) in ("typing", "typing_extensions"):
        return dict
    if kind is types.GenericAlias or kind is type(typing.List[int]) or kind is type(typing.List):  # noqa: UP006
        factory = object.__getattribute__(factory, "__origin__")
    return _FACTORIES.get(id(factory))


def parts_of(declared: Any) -> tuple[Any, Any]:
    """Return the constant default and the factory of a field or private attribute, `NOTHING` for what it has not."""
    if isinstance(declared, dataclasses.Field) and isinstance(declared.default, FieldInfo):
        declared = declared.default  # of a pydantic dataclass
    default, factory = declared.default, declared.default_factory
    if factory is None or factory is dataclasses.MISSING:
        factory = NOTHING
    undefined = ("PydanticUndefinedType", "UndefinedType", "_MISSING_TYPE", "ellipsis")
    if qualname_of(type(default)) in undefined or getattr(declared, "required", None) is True:
        default = NOTHING
    return default, factory


def has_default(declared: Any) -> bool:
    """Say whether a field or private attribute has a default."""
    default, factory = parts_of(declared)
    return default is not NOTHING or factory is not NOTHING


def takes_a_call(declared: Any) -> bool:
    """Say whether a function of the program makes the default."""
    factory = parts_of(declared)[1]
    return factory is not NOTHING and harmless(factory) is None


def default_of(cls: type, name: str, declared: Any, trusted: bool, *before: Mapping[str, Any]) -> Any:
    """Return the default of a field or private attribute of which nothing is stored.

    Raises TypeNotLoaded where there is none, and where a function of a class that is not ``trusted`` makes it; such a
    function may take ``before``, the fields that are there already.
    """
    default, factory = parts_of(declared)
    if factory is NOTHING:
        if default is NOTHING:
            raise TypeNotLoaded(changed(cls, f"nothing is stored for its field {name!r}"))
        return fresh(default)
    make = harmless(factory)
    if make is not None:
        return make()
    if not trusted:
        raise TypeNotLoaded(
            f"{path_of(cls)}.{name} is not stored, and a function of the class makes its default, which reading does "
            f"not call. Give it a plain default, such as list, or vouch for the class: register_type({cls.__name__})."
        )
    try:
        if getattr(declared, "default_factory_takes_validated_data", False):
            return factory(dict(ChainMap(*map(dict, before))))
        return factory()
    except MemoryError:
        raise
    except Exception as exc:  # whatever a factory of the program's may raise
        raise TypeNotLoaded(f"{path_of(cls)}.{name} is not stored, and its default factory failed: {exc!r}") from exc


def attrs_defaults(cls: type) -> dict[str, Any]:
    """Return what attributes of a class that attrs made have by default, as far as that takes no call of code."""
    found = {}
    for each in attribute(cls, "__attrs_attrs__") or ():
        if (module_of(type(each)), qualname_of(type(each))) != ("attr._make", "Attribute"):
            continue
        default = each.default
        if qualname_of(type(default)) == "Factory":
            make = None if default.takes_self else harmless(default.factory)
            if make is not None:
                found[each.name] = make()
        elif qualname_of(type(default)) != "_Nothing":
            found[each.name] = fresh(default)
    return found


def changed(cls: type, what: str) -> str:
    """Return what an error says of a class that no longer takes what was stored."""
    return (
        f"{path_of(cls)} has changed since this was stored ({what}). Give it a default, or make it of what is stored: "
        f"register_type({name_in_code(cls)}, upgrade=…)."
    )


def fresh(value: Any) -> Any:
    """Return a constant default for one more instance: containers and pydantic's models are copied, with those inside.

    An object of any other class is handed out as it is: copying it could call its code.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(map(fresh, value))
    if kind is dict and _TEXT.issuperset(map(type, value)):
        return {key: fresh(item) for key, item in value.items()}
    if kind is set or kind is dict or kind in _COPIED:
        return value.copy()  # what is copied whole is not asked for its hash
    if derives(kind, BaseModel) and not attribute(kind, "__pydantic_root_model__") and owner(kind, "__del__") is None:
        twin = object.__new__(kind)
        for part in _PARTS:
            part.__set__(twin, fresh(part.__get__(value)))
        return twin
    return value


_COPIED = (bytearray, deque, OrderedDict, Counter, defaultdict)
_TEXT = frozenset({str})
_PARTS = [
    vars(BaseModel)[part]
    for part in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
]
"""The slots' own descriptors: a class may have put something else under their names."""
