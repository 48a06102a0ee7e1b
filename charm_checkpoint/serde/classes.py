"""Which classes may be stored, under which name, and how a stored name finds its class again.

Nothing here imports a module or calls an object because stored data names it. A stored name finds, in this order:
a registered class, a class of the fixed tables below, or a data class some module of this process already holds.
"""

from __future__ import annotations

import importlib
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from charm_checkpoint.errors import ConfigError, TypeNotLoaded

T = TypeVar("T")

# Extension codes of the storage format: never change or reuse one.
MODEL, MODEL_V1, OBJECT, ENUM, NAMEDTUPLE, SUBCLASS = 40, 41, 42, 43, 44, 45

KINDS = {
    MODEL: "pydantic model",
    MODEL_V1: "pydantic v1 model",
    OBJECT: "dataclass or plain class",
    ENUM: "enum",
    NAMEDTUPLE: "named tuple",
    SUBCLASS: "subclass of a built-in type",
}

# Short stored names of common classes. They are part of the storage format: never change or reuse one.
SHORT_NAMES = {
    "h": "langchain_core.messages.human:HumanMessage",
    "a": "langchain_core.messages.ai:AIMessage",
    "s": "langchain_core.messages.system:SystemMessage",
    "t": "langchain_core.messages.tool:ToolMessage",
    "f": "langchain_core.messages.function:FunctionMessage",
    "c": "langchain_core.messages.chat:ChatMessage",
    "b": "langchain_core.messages.base:BaseMessage",
    "r": "langchain_core.messages.modifier:RemoveMessage",
    "H": "langchain_core.messages.human:HumanMessageChunk",
    "A": "langchain_core.messages.ai:AIMessageChunk",
    "S": "langchain_core.messages.system:SystemMessageChunk",
    "T": "langchain_core.messages.tool:ToolMessageChunk",
    "F": "langchain_core.messages.function:FunctionMessageChunk",
    "C": "langchain_core.messages.chat:ChatMessageChunk",
    "B": "langchain_core.messages.base:BaseMessageChunk",
    "d": "langchain_core.documents.base:Document",
    "Send": "langgraph.types:Send",
    "TimeoutPolicy": "langgraph.types:TimeoutPolicy",
    "Interrupt": "langgraph.types:Interrupt",
    "Command": "langgraph.types:Command",
    "StateSnapshot": "langgraph.types:StateSnapshot",
    "PregelTask": "langgraph.types:PregelTask",
    "Overwrite": "langgraph.types:Overwrite",
    "Item": "langgraph.store.base:Item",
    "GetOp": "langgraph.store.base:GetOp",
    "DeltaSnapshot": "langgraph.checkpoint.serde.types:_DeltaSnapshot",
}
_SHORT_OF = {long: short for short, long in SHORT_NAMES.items()}

BUILTINS: dict[str, type] = {
    f"builtins:{t.__name__}": t
    for t in (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
}
"""Built-in types whose names may stand for themselves: class references and ``defaultdict`` factories."""

SUBCLASSABLE = (str, int, float, bytes, list, tuple, dict, set, frozenset)
"""Built-in types a registered class may derive from."""

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by a class statement, not a static type of C code
_UNSTORED = frozenset({"__orig_class__"})  # typing leaves it on instances of generic classes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a class once: how its instances are taken apart and put together."""

    kind: int
    name: str
    fields: tuple[str, ...]
    names: frozenset[str]
    slots: tuple[str, ...]
    extra: bool
    private: bool
    root: bool
    loose: bool
    derived: frozenset[str]
    safe: bool


_registered: dict[str, type] = {}
_names: dict[type, str] = {}
_plans: dict[int, tuple[weakref.ref[type], Plan | None]] = {}  # by id: a third of a WeakKeyDictionary's time
_imported: dict[str, type] = {}
_searched: dict[str, weakref.ref[type]] = {}
_lock = threading.Lock()


# -- registration -----------------------------------------------------------------------------------------------------


@overload
def register_type(cls: type[T], *, name: str | None = None, aliases: Sequence[str] = ()) -> type[T]: ...
@overload
def register_type(
    cls: None = None, *, name: str | None = None, aliases: Sequence[str] = ()
) -> Callable[[type[T]], type[T]]: ...
def register_type(
    cls: type[T] | None = None, *, name: str | None = None, aliases: Sequence[str] = ()
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let instances of a class be stored, and choose the name they are stored under.

    Pydantic models, dataclasses, enums and named tuples need no registration; register one to give it a name that
    survives renaming (``name``), or to revive what was stored under former names (``aliases``, such as
    ``"old.module:User"``). Plain classes and subclasses of built-in types are stored only once registered: by their
    attributes, without calling ``__init__``. Works as a decorator, with and without arguments.

    Raises ConfigError when a name already belongs to another class, or the class cannot be stored at all.
    """
    if cls is None:
        return lambda real: register_type(real, name=name, aliases=aliases)
    if kind_of(cls, registered=True) is None:
        raise ConfigError(f"{path_of(cls)} cannot be registered: its instances hold more than attributes.")
    stored = name or path_of(cls)
    with _lock:
        for each in (stored, *aliases):
            _check_free(each, cls)
        _registered.update(dict.fromkeys((stored, *aliases), cls))
        _names[cls] = stored
        _plans.clear()
    return cls


def _check_free(name: str, cls: type) -> None:
    if name in SHORT_NAMES or name in BUILTINS:
        raise ConfigError(f"The name {name!r} is reserved; choose another one, such as 'myapp.{cls.__name__}'.")
    other = _registered.get(name)
    # The same module and qualified name again is the same class, re-executed in a notebook or reloaded.
    if other is not None and other is not cls and path_of(other) != path_of(cls):
        raise ConfigError(f"The name {name!r} is already registered for {path_of(other)}; choose another one.")


# -- names ------------------------------------------------------------------------------------------------------------


def path_of(cls: type) -> str:
    """Return where a class was defined, as ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def name_of(cls: type) -> str:
    """Return the name a class is stored under."""
    name = _names.get(cls)
    if name is not None:
        return name
    generic = getattr(cls, "__pydantic_generic_metadata__", None)
    if generic and generic["origin"] is not None:
        # Pydantic names Box[a.User] and Box[b.User] alike; the arguments' own names tell them apart.
        return f"{name_of(generic['origin'])}[{','.join(map(_argument, generic['args']))}]"
    path = path_of(cls)
    return _SHORT_OF.get(path, path)


def _argument(arg: Any) -> str:
    if type(arg) is types.GenericAlias:  # list[int] passes for a class on Python 3.10
        return repr(arg)
    return name_of(arg) if isinstance(arg, type) else repr(arg)


def is_safe(name: str) -> bool:
    """Say whether a stored name is one of the fixed table or was registered."""
    return name in SHORT_NAMES or name in BUILTINS or name.partition("[")[0] in _registered


# -- lookup -----------------------------------------------------------------------------------------------------------


def find_class(name: str) -> type:
    """Return the class a stored name stands for, or raise TypeNotLoaded."""
    cls = _find(name)
    if cls is None:
        raise TypeNotLoaded(
            f"{name} is not loaded in this process. Import the module that defines it before reading; if it was "
            f"renamed or moved, call register_type(cls, aliases=[{name!r}])."
        )
    return cls


def _find(name: str) -> type | None:
    known = _imported.get(name) or _registered.get(name) or BUILTINS.get(name)
    if known is not None:
        return known
    if name in SHORT_NAMES:
        return _import(name)
    return _parametrised(name) if name.endswith("]") else _loaded(name) or _search(name)


def _import(name: str) -> type:
    """Import a class of the fixed table; only the table's own text ever reaches the import."""
    module, _, qualname = SHORT_NAMES[name].partition(":")
    cls: type = getattr(importlib.import_module(module), qualname)
    _imported[name] = cls
    return cls


def _loaded(name: str) -> type | None:
    """Look a ``module:qualname`` up in the modules of this process, without running any code of theirs."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    if not isinstance(found, types.ModuleType) or not qualname:
        return None
    space = object.__getattribute__(found, "__dict__")  # a lazy module would import itself on plain access
    for part in qualname.split("."):
        found = space.get(part)
        if not issubclass(type(found), type):
            return None
        space = type.__getattribute__(found, "__dict__")
    return found  # type: ignore[no-any-return]


def _parametrised(name: str) -> type | None:
    """Return a generic model with the arguments of its stored name, if the program has made it."""
    origin = _find(name.partition("[")[0])
    return _newest(origin, name) if origin is not None else None


def _search(name: str) -> type | None:
    """Search all classes for one that no module holds, such as one defined in a function; the newest wins."""
    ref = _searched.get(name)
    known = ref() if ref else None
    found = _newest(known.__bases__[0], name) if known is not None else None
    if found is None:
        for cls in _all_classes():
            if _is_named(cls, name):
                found = cls
    if found is not None:
        _searched[name] = weakref.ref(found)
    return found


def _newest(base: type, name: str) -> type | None:
    siblings: Iterator[type] = reversed(type.__subclasses__(base))
    return next((cls for cls in siblings if _is_named(cls, name)), None)


def _is_named(cls: type, name: str) -> bool:
    tail = cls.__qualname__.partition("[")[0]
    return (tail in name or cls in _names) and kind_of(cls) is not None and name_of(cls) == name


def _all_classes() -> Iterator[type]:
    seen: set[type] = {object}
    todo = [object]
    while todo:
        for cls in type.__subclasses__(todo.pop()):
            if cls not in seen:
                seen.add(cls)
                todo.append(cls)
                yield cls


# -- kinds and plans --------------------------------------------------------------------------------------------------


def kind_of(cls: type, *, registered: bool = False) -> int | None:
    """Return the code of a class's kind, or None when its instances cannot be stored."""
    mro = cls.__mro__
    if Enum in mro:
        return ENUM
    solid = [base for base in mro if not base.__flags__ & _HEAP_TYPE and base is not object]
    if solid == [tuple] and isinstance(getattr(cls, "_fields", None), tuple):
        return NAMEDTUPLE
    if registered and len(solid) == 1 and solid[0] in SUBCLASSABLE and cls is not solid[0]:
        return SUBCLASS
    if solid or cls is object:
        return None
    if BaseModel in mro:
        return MODEL
    if (v1 := sys.modules.get("pydantic.v1.main")) is not None and v1.BaseModel in mro:
        return MODEL_V1
    return OBJECT if registered or any("__dataclass_fields__" in vars(base) for base in mro) else None


def plan_of(cls: type) -> Plan | None:
    """Return how instances of a class are stored, or None when they cannot be."""
    key = id(cls)
    known = _plans.get(key)
    if known is not None:
        return known[1]
    plan = _make_plan(cls)
    if getattr(cls, "__pydantic_complete__", True):  # an unfinished model does not know its fields yet
        _plans[key] = weakref.ref(cls, lambda ref: _forget(key, ref)), plan
    return plan


def _forget(key: int, ref: weakref.ref[type]) -> None:
    if _plans.get(key, (None,))[0] is ref:
        del _plans[key]


def _make_plan(cls: type) -> Plan | None:
    name = name_of(cls)
    kind = kind_of(cls, registered=name in SHORT_NAMES or cls in _names)
    if kind is None:
        return None
    fields = _field_names(cls, kind)
    derived = frozenset(n for base in cls.__mro__ for n, v in vars(base).items() if isinstance(v, cached_property))
    return Plan(
        kind=kind,
        name=name,
        fields=fields,
        names=frozenset(fields),
        slots=_slots(cls) if kind in (OBJECT, SUBCLASS) else (),
        extra=kind == MODEL and getattr(cls, "model_config", {}).get("extra") == "allow",
        private=bool(getattr(cls, "__private_attributes__", None)),
        root=bool(getattr(cls, "__pydantic_root_model__", False)),
        loose=bool(derived),
        derived=derived | _UNSTORED,
        safe=name in SHORT_NAMES,
    )


def _field_names(cls: Any, kind: int) -> tuple[str, ...]:
    if kind == MODEL:
        return tuple(cls.model_fields)
    if kind == MODEL_V1:
        return tuple(cls.__fields__)
    if kind == NAMEDTUPLE:
        return tuple(cls._fields)
    if kind == OBJECT and is_dataclass(cls):
        return tuple(field.name for field in dataclass_fields(cls))
    return _slots(cls) if kind == OBJECT else ()


def _slots(cls: type) -> tuple[str, ...]:
    bases = reversed(cls.__mro__)
    return tuple(n for base in bases for n, v in vars(base).items() if type(v) is types.MemberDescriptorType)
