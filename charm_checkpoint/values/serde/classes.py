"""Which classes may be stored, how, and under which name; `class_lookup` has the way back."""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, overload

from pydantic import BaseModel

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime import forks
from charm_checkpoint.values.serde.class_shapes import enum_shape, field_shape, is_at, loaded, shape_mark, split_mark
from charm_checkpoint.values.serde.hooks import check_hook, hook_of, set_hook
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES, VALUE_BASES
from charm_checkpoint.values.serde.origins import holds_more, static_bases
from charm_checkpoint.values.serde.rows import STATE, is_mapped

T = TypeVar("T")

# Extension codes of the storage format: never change or reuse one.
MODEL, MODEL_V1, OBJECT, ENUM, NAMEDTUPLE, SUBCLASS, HOOKED = 40, 41, 42, 43, 44, 45, 46

KINDS = {
    MODEL: "pydantic model",
    MODEL_V1: "pydantic v1 model",
    OBJECT: "dataclass or plain class",
    ENUM: "enum",
    NAMEDTUPLE: "named tuple",
    SUBCLASS: "subclass of a built-in type",
    HOOKED: "class with a dump and a load",
}

_SHORT_OF = {long: short for short, long in SHORT_NAMES.items()}

BUILTINS: dict[str, type] = {
    f"builtins:{t.__name__}": t
    for t in (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
}
"""Built-in types whose names may stand for themselves: class references and ``defaultdict`` factories."""

SUBCLASSABLE = (str, int, float, bytes, list, tuple, dict, set, frozenset)
"""Built-in types a registered class may derive from."""

_UNSTORED = frozenset({"__orig_class__", STATE})
"""Attributes that are no content: typing leaves one on instances of generic classes, SQLAlchemy one on its rows."""


Home: TypeAlias = "tuple[str, str]"
"""A module's name, and the key there: the module itself would keep the class, and with it the layout, alive."""


@dataclass(frozen=True, slots=True)
class ClassLayout:
    """What is known of a class once: how its instances are taken apart and put together."""

    kind: int
    """The extension code under which instances are stored."""
    name: str
    """The stored name, without the mark of the class's shape."""
    fields: tuple[str, ...]
    """The names of its fields, in order: of a plain class, of its slots."""
    names: frozenset[str]
    """The same, to look up."""
    slots: tuple[str, ...]
    """Attributes that are not in an instance's ``__dict__``."""
    allows_extra: bool
    """Whether it is a pydantic model that takes fields it does not declare (``extra="allow"``)."""
    has_private: bool
    """Whether it is a pydantic model with private attributes."""
    is_root_model: bool
    """Whether it is a pydantic ``RootModel``, whose instances have no place for extra and private attributes."""
    holds_unstored: bool
    """Whether an instance may hold attributes that are not stored, so that its ``__dict__`` is not taken as it is."""
    derived: frozenset[str]
    """Attributes that are not stored: cached properties, and what libraries leave on instances."""
    has_short_name: bool
    """Whether it is one of the fixed table of other packages' classes."""
    excluded: frozenset[str]
    """Fields that a pydantic model keeps out of what is stored (``exclude=True``); their defaults come back."""
    mapped: bool
    """Whether it is a row of SQLAlchemy's."""
    was: int
    """The kind without its hook: as which instances may have been stored before it was registered."""
    mark: str
    """What tells its shape from those of other classes of its name, see `class_shapes`; empty where it needs none."""
    home: Home | None
    """Where a module may hold it, None if it takes a longer look."""


NOWHERE: Home = ("", "")
"""The home of a class made in a function."""

_registered: dict[str, type] = {}
_names: dict[type, str] = {}
_layouts: dict[int, tuple[weakref.ref[type], ClassLayout | None]] = {}  # by id: a third of a WeakKeyDictionary's time


# -- registration -----------------------------------------------------------------------------------------------------


@overload
def register_type(
    cls: type[T],
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[T], Any] | None = None,
    load: Callable[[Any], T] | None = None,
) -> type[T]: ...
@overload
def register_type(
    cls: None = None,
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[Any], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
) -> Callable[[type[T]], type[T]]: ...
def register_type(
    cls: type[T] | None = None,
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[Any], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let instances of a class be stored, and choose the name they are stored under.

    Pydantic models, dataclasses, enums and named tuples need no registration; register one to give it a name that
    survives renaming (``name``), or to revive what was stored under former names (``aliases``, such as
    ``"old.module:User"``). Plain classes and subclasses of built-in types are stored only once registered: by their
    attributes, without calling ``__init__``. Works as a decorator, with and without arguments.

    A class of any kind, foreign ones too, is stored as what ``dump(object)`` returns, which may hold anything that can
    be stored, and comes back as what ``load(data)`` makes of it. Both are for exactly this class, not for subclasses.
    ``dump`` may run in another thread, beside the program, and should return the same for the same content.

    Raises ConfigError when a name already belongs to another class, or the class cannot be stored at all.
    """
    if cls is None:
        return lambda real: register_type(real, name=name, aliases=aliases, dump=dump, load=load)
    if not _is_class(cls):
        raise ConfigError(f"{cls!r} is no class. Register the class itself.")
    hook = check_hook(cls, dump, load)
    if hook is None and kind_of(cls, registered=True) is None:
        raise ConfigError(
            f"{path_of(cls)} cannot be registered: its instances hold more than attributes, which could not be read "
            f"back. Store the plain data they stand for, or say how: register_type({cls.__name__}, dump=…, load=…)."
        )
    stored = name or path_of(cls)
    with forks.lock(__name__):
        for each in (stored, *aliases):
            _check_free(each, cls)
        _registered.update(dict.fromkeys((stored, *aliases), cls))
        _names[cls] = stored
        if hook is not None:
            set_hook(cls, hook)
        _layouts.clear()
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
    return name_of(arg) if _is_class(arg) else repr(arg)  # list[int] passes for a class on Python 3.10


def stored_name(cls: type, layout: ClassLayout) -> str:
    """Return the name that an instance is stored under now.

    It has a mark of the class's shape behind it where the name alone would find another class, or only this one as
    long as it lives: see `class_shapes`.
    """
    home = layout.home
    if not layout.mark or (home is not None and is_at(cls, *home)):
        return layout.name
    return layout.name + layout.mark if home is NOWHERE or not is_held(cls) else layout.name


def is_held(cls: type) -> bool:
    """Say whether a module holds a class, and the arguments of a generic model, under their own names."""
    generic = getattr(cls, "__pydantic_generic_metadata__", None)
    if generic and generic["origin"] is not None:
        return all(map(is_held, filter(_is_class, (generic["origin"], *generic["args"]))))
    return cls in _names or cls.__module__ == "builtins" or loaded(path_of(cls)) is cls


def _is_class(arg: Any) -> bool:
    return isinstance(arg, type) and not isinstance(arg, types.GenericAlias)


def is_safe(name: str) -> bool:
    """Say whether a stored name is one of the fixed table or was registered."""
    return name in SHORT_NAMES or name in BUILTINS or split_mark(name)[0].partition("[")[0] in _registered


def registered(name: str) -> type | None:
    """Return the class that is registered under a name."""
    return _registered.get(name)


# -- kinds and layouts ------------------------------------------------------------------------------------------------


def kind_of(cls: type, *, registered: bool = False) -> int | None:
    """Return the code of a class's kind, or None when its instances cannot be stored."""
    mro = cls.__mro__
    if Enum in mro:
        return ENUM
    solid = static_bases(cls)
    if solid == [tuple] and isinstance(getattr(cls, "_fields", None), tuple):
        return NAMEDTUPLE
    if registered and len(solid) == 1 and solid[0] in SUBCLASSABLE and cls is not solid[0]:
        return None if holds_more(cls, solid[0]) else SUBCLASS
    if solid or cls is object:
        return None
    if BaseModel in mro:
        return MODEL
    if (v1 := sys.modules.get("pydantic.v1.main")) is not None and v1.BaseModel in mro:
        return MODEL_V1
    if (registered or any("__dataclass_fields__" in vars(base) for base in mro)) and not holds_more(cls, object):
        return OBJECT
    return None


def layout_of(cls: type) -> ClassLayout | None:
    """Return how instances of a class are stored, or None when they cannot be."""
    key = id(cls)
    known = _layouts.get(key)
    if known is not None:
        return known[1]
    layout = _make_layout(cls)
    if getattr(cls, "__pydantic_complete__", True):  # an unfinished model does not know its fields yet
        _layouts[key] = weakref.ref(cls, lambda ref: _forget(key, ref)), layout
    return layout


def _forget(key: int, ref: weakref.ref[type]) -> None:
    if _layouts.get(key, (None,))[0] is ref:
        del _layouts[key]


def _make_layout(cls: type) -> ClassLayout | None:
    name = name_of(cls)
    kind = kind_of(cls, registered=name in SHORT_NAMES or cls in _names or is_value(cls))
    hooked = hook_of(cls) is not None
    if kind is None and not hooked:
        return None
    was = HOOKED if kind is None else kind
    fields = _field_names(cls, was)
    derived = frozenset(n for base in cls.__mro__ for n, v in vars(base).items() if isinstance(v, cached_property))
    excluded, mapped = _excluded(cls, was), is_mapped(cls)
    return ClassLayout(
        kind=HOOKED if hooked else was,
        name=name,
        fields=fields,
        names=frozenset(fields),
        slots=_slots(cls) if was in (OBJECT, SUBCLASS) else (),
        allows_extra=was == MODEL and getattr(cls, "model_config", {}).get("extra") == "allow",
        has_private=bool(getattr(cls, "__private_attributes__", None)),
        is_root_model=bool(getattr(cls, "__pydantic_root_model__", False)),
        holds_unstored=bool(derived or excluded or mapped),
        derived=derived | _UNSTORED,
        has_short_name=name in SHORT_NAMES,
        excluded=excluded,
        mapped=mapped,
        was=was,
        mark="" if name in SHORT_NAMES or cls in _names else shape_mark(was, _shape(cls, was)),
        home=_home(cls),
    )


def is_value(cls: type) -> bool:
    """Say whether a class is one of pydantic's values, such as a URL or a secret, or derived from one."""
    return not VALUE_BASES.isdisjoint(map(path_of, cls.__mro__))


def _excluded(cls: Any, kind: int) -> frozenset[str]:
    """Return the fields that a pydantic model keeps out of what it is stored as."""
    if kind == MODEL:
        return frozenset(name for name, field in cls.model_fields.items() if field.exclude is True)
    if kind == MODEL_V1:
        return frozenset(name for name, what in (cls.__exclude_fields__ or {}).items() if what in (True, ...))
    fields = getattr(cls, "__pydantic_fields__", {}) if kind == OBJECT else {}
    return frozenset(name for name, field in fields.items() if field.exclude is True)


def _home(cls: type) -> Home | None:
    """Return the one place where a module may hold a class, None if it takes a longer look."""
    if "." not in cls.__qualname__ and "[" not in cls.__qualname__:
        return cls.__module__, cls.__qualname__
    return NOWHERE if "<locals>" in cls.__qualname__ and "[" not in cls.__qualname__ else None


def _shape(cls: Any, kind: int) -> Any:
    """Return what tells classes of one name and kind apart."""
    if kind == ENUM:
        return enum_shape(cls)
    if kind == MODEL:
        args = (cls.__pydantic_generic_metadata__ or {}).get("args", ())
        marks = [layout.mark for layout in map(layout_of, filter(_is_class, args)) if layout is not None]
        return [*field_shape({name: field.annotation for name, field in cls.model_fields.items()}), *marks]
    if kind == MODEL_V1:
        return field_shape({name: field.outer_type_ for name, field in cls.__fields__.items()})
    if kind == OBJECT and is_dataclass(cls):
        return field_shape({field.name: field.type for field in dataclass_fields(cls)})
    return _field_names(cls, kind)


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
