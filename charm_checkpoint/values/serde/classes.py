"""Which classes may be stored, how, and under which name; `class_lookup` has the way back."""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.runtime import forks
from charm_checkpoint.values.serde.class_fields import (
    ENUM,
    HOOKED,
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    SUBCLASS,
    allows_extra,
    annotation_texts,
    cached_properties,
    called_defaults,
    excluded_fields,
    field_names,
    is_dataclass,
    private_attributes,
    required_attributes,
    slots_of,
)
from charm_checkpoint.values.serde.class_reading import (
    attribute,
    derives,
    derives_from_path,
    has_space,
    module_of,
    owner,
    path_of,
)
from charm_checkpoint.values.serde.class_shapes import (
    NOWHERE,
    TAKEN,
    Home,
    enum_shape,
    home_of,
    is_at,
    loaded,
    shape_mark,
)
from charm_checkpoint.values.serde.hooks import Change, Hook, forget, hook_of, set_change, set_hook, version_of
from charm_checkpoint.values.serde.known_classes import SETTINGS_BASES, SHORT_NAMES, VALUE_BASES
from charm_checkpoint.values.serde.moved_modules import add_move, moved_names
from charm_checkpoint.values.serde.origins import holds_more, static_bases
from charm_checkpoint.values.serde.program_names import in_program, is_same_class, own_path
from charm_checkpoint.values.serde.rows import STATE, is_mapped, runs_code
from charm_checkpoint.values.serde.stored_names import Changed, codes_of, parts_of, suffix_of

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

KEPT = "__charm_kept__"
"""The entry of an instance's ``__dict__`` where fields are kept that its class does not have, see `kept`."""
_UNSTORED = frozenset({"__orig_class__", STATE, KEPT})
"""Attributes that are no content: typing leaves one on instances of generic classes, SQLAlchemy one on its rows."""


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
    slots: Mapping[str, Any]
    """Attributes that are not in an instance's ``__dict__``, and what sets each."""
    readers: Mapping[str, Any]
    """What reads each of them."""
    has_dict: bool
    """Whether an instance has a ``__dict__``."""
    is_open: bool
    """Whether it is a plain class, any attribute of which may be there: it declares none that could be missing."""
    allows_extra: bool
    """Whether it is a pydantic model that takes fields it does not declare (``extra="allow"``)."""
    private: frozenset[str]
    """The names of a pydantic model's private attributes."""
    required: frozenset[str]
    """Private attributes without a default."""
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
    called: frozenset[str]
    """What is not stored, or may not be, and has a default that takes a call of the program's code: never made."""
    trusted: bool
    """Whether the program registered it, and so vouches for the code of its own that reading may run."""
    mapped: bool
    """Whether it is a row of SQLAlchemy's."""
    was: int
    """The kind without its hook: as which instances may have been stored before it was registered."""
    mark: str
    """What tells its shape from those of other classes of its name, see `class_shapes`; empty where it needs none."""
    suffix: str
    """What is said of its shape behind its name, see `stored_names`; empty where nothing is."""
    stored: str
    """The name with the suffix: what an object is stored under where no mark is needed."""
    codes: Mapping[str, str]
    """What the suffix says of each field."""
    home: Home | None
    """Where a module may hold it, None if it takes a longer look."""
    changed: Changed | None = None
    """For one reading: that the class was another when an object was stored."""


_registered: dict[str, type] = {}
_names: dict[int, str] = {}  # by id, as no code of a metaclass is to run
_alive: dict[int, weakref.ref[type]] = {}
"""Registered classes: of one that went nothing is kept, or another one at its address would pass for it."""
_layouts: dict[int, tuple[weakref.ref[type], ClassLayout | None]] = {}  # by id: a third of a WeakKeyDictionary's time


# -- registration -----------------------------------------------------------------------------------------------------


def register(cls: type, names: Sequence[str], hook: Hook | None, change: Change | None) -> None:
    """Register a class under names, of which the first is the one it is stored under; see `class_claims`."""
    with forks.lock(__name__):
        _registered.update(dict.fromkeys(names, cls))
        _names[id(cls)] = names[0]
        key = id(cls)
        _alive[key] = weakref.ref(cls, lambda _: _forget_registered(key))
        if hook is not None:
            set_hook(cls, hook)
        if change is not None:
            set_change(cls, change)
        _layouts.clear()


def move(old: str, new: str) -> None:
    """Look for classes of a module below another one from now on; see `register_moved`."""
    with forks.lock(__name__):
        add_move(old, new)
        _layouts.clear()


def _forget_registered(key: int) -> None:
    for table in (_names, _alive):
        table.pop(key, None)
    forget(key)


def owner_of(name: str) -> type | None:
    """Return the class that a module holds and that is stored under just that name."""
    held = loaded(name)
    return held if held is not None and kind_of(held) is not None and name_of(held) == name else None


def other_of_name(cls: type, name: str) -> type | None:
    """Return another class for which the program claims the name of a class that is not registered, None for none."""
    other = _registered.get(name)
    if other is not None:
        return None if is_same_class(other, cls) else other
    module, _, rest = name.partition(":")
    held = (owner_of(f"{each}:{rest}") for each in moved_names(module))
    return next((other for other in held if other is not None and not is_same_class(other, cls)), None)


# -- names ------------------------------------------------------------------------------------------------------------


def name_of(cls: type) -> str:
    """Return the name a class is stored under."""
    return _names.get(id(cls)) or _SHORT_OF.get(path := unnamed(cls), path)


def unnamed(cls: type) -> str:
    """Return the name of a class that was given none."""
    generic = attribute(cls, "__pydantic_generic_metadata__")
    if generic and generic["origin"] is not None:
        # Pydantic names Box[a.User] and Box[b.User] alike; the arguments' own names tell them apart.
        return f"{name_of(generic['origin'])}[{','.join(map(_argument, generic['args']))}]"
    return own_path(cls)


def _argument(arg: Any) -> str:
    return name_of(arg) if is_class(arg) else in_program(repr(arg))  # list[int] passes for a class on Python 3.10


def stored_name(cls: type, layout: ClassLayout) -> str:
    """Return the name that an instance is stored under now.

    It has a mark of the class's shape behind it where the name alone would find another class, or only this one as
    long as it lives: see `class_shapes`.
    """
    home = layout.home
    if not layout.mark or (home is not None and is_at(cls, *home)):
        return layout.stored
    if home is TAKEN:
        _refuse_taken(cls, layout.name)
    return layout.name + layout.mark + layout.suffix if home is NOWHERE or not is_held(cls) else layout.stored


def _refuse_taken(cls: type, name: str) -> None:
    other = other_of_name(cls, name)
    if other is not None:
        raise NotSerializable(
            f"what is stored as {name} is read as {own_path(other)}, by an alias, a name or a register_moved. Give "
            f"this class a name of its own, register_type({cls.__name__}, name=…), or remove the other's."
        )


def bare_name(cls: type, layout: ClassLayout) -> str:
    """Return the name that a class itself is stored under: nothing is said of its shape."""
    return stored_name(cls, layout).removesuffix(layout.suffix)


def is_held(cls: type) -> bool:
    """Say whether a module holds a class, and the arguments of a generic model, under their own names."""
    generic = attribute(cls, "__pydantic_generic_metadata__")
    if generic and generic["origin"] is not None:
        return all(map(is_held, filter(is_class, (generic["origin"], *generic["args"]))))
    return is_registered(cls) or module_of(cls) == "builtins" or loaded(path_of(cls)) is cls


def is_class(arg: Any) -> bool:
    """Say whether something is a class; what stands for one with types in brackets is none."""
    return isinstance(arg, type) and not isinstance(arg, types.GenericAlias)


def is_safe(name: str) -> bool:
    """Say whether a stored name is one of the fixed table or was registered."""
    if name in SHORT_NAMES or name in BUILTINS:
        return True
    return any(each.partition("[")[0] in _registered for each in (name, parts_of(name).name))


def is_registered(cls: type) -> bool:
    """Say whether the program registered exactly this class."""
    return id(cls) in _names


def registered(name: str) -> type | None:
    """Return the class that is registered under a name."""
    return _registered.get(name)


def registered_names() -> Sequence[str]:
    """Return all names that classes are registered under."""
    return tuple(_registered)


# -- kinds and layouts ------------------------------------------------------------------------------------------------


def kind_of(cls: type, *, registered: bool = False) -> int | None:
    """Return the code of a class's kind, or None when its instances cannot be stored."""
    if derives(cls, Enum):
        return ENUM
    solid = static_bases(cls)
    if len(solid) == 1 and solid[0] is tuple and isinstance(attribute(cls, "_fields"), tuple):
        return NAMEDTUPLE
    if registered and len(solid) == 1 and solid[0] in SUBCLASSABLE and cls is not solid[0]:
        return None if holds_more(cls, solid[0]) else SUBCLASS
    if solid or cls is object:
        return None
    if derives(cls, BaseModel):
        return MODEL
    if (v1 := sys.modules.get("pydantic.v1.main")) is not None and derives(cls, v1.BaseModel):
        return MODEL_V1
    if (registered or is_dataclass(cls)) and not holds_more(cls, object):
        return OBJECT
    return None


def layout_of(cls: type) -> ClassLayout | None:
    """Return how instances of a class are stored, or None when they cannot be."""
    key = id(cls)
    known = _layouts.get(key)
    if known is not None:
        return known[1]
    layout = _make_layout(cls)
    if attribute(cls, "__pydantic_complete__", True):  # an unfinished model does not know its fields yet
        _layouts[key] = weakref.ref(cls, lambda ref: _forget(key, ref)), layout
    return layout


def _forget(key: int, ref: weakref.ref[type]) -> None:
    if _layouts.get(key, (None,))[0] is ref:
        del _layouts[key]


def _make_layout(cls: type) -> ClassLayout | None:
    name, trusted = name_of(cls), is_registered(cls)
    kind = kind_of(cls, registered=name in SHORT_NAMES or trusted or is_value(cls))
    hooked = hook_of(cls) is not None
    if (kind is None and not hooked) or (not trusted and needs_vouching(cls)):
        return None
    was = HOOKED if kind is None else kind
    fields = field_names(cls, was)
    derived, excluded, mapped = cached_properties(cls), excluded_fields(cls, was), is_mapped(cls)
    slots = slots_of(cls) if was in (OBJECT, SUBCLASS) else {}
    private, has_dict = frozenset(private_attributes(cls)), has_space(cls)
    texts = None if name in SHORT_NAMES or hooked else annotation_texts(cls, was, trusted, closely=True)
    compared = None if texts is None else {field: text for field, text in texts.items() if field not in excluded}
    suffix = suffix_of(was, compared, version_of(cls))
    return ClassLayout(
        kind=HOOKED if hooked else was,
        name=name,
        fields=fields,
        names=frozenset(fields),
        slots={name: slot.__set__ for name, slot in slots.items()},
        readers={name: slot.__get__ for name, slot in slots.items()},
        has_dict=has_dict,
        is_open=was == OBJECT and has_dict and not is_dataclass(cls),
        allows_extra=allows_extra(cls, was),
        private=private,
        required=frozenset() if name in SHORT_NAMES else required_attributes(cls),
        is_root_model=bool(attribute(cls, "__pydantic_root_model__", False)),
        holds_unstored=bool(derived or excluded or mapped),
        derived=derived | _UNSTORED,
        has_short_name=name in SHORT_NAMES,
        excluded=excluded,
        called=frozenset() if trusted else called_defaults(cls, was) & (excluded | private),
        trusted=trusted,
        mapped=mapped,
        was=was,
        mark="" if name in SHORT_NAMES or trusted else shape_mark(was, _shape(cls, was)),
        suffix=suffix,
        stored=name + suffix,
        codes=codes_of(compared or {}),
        home=TAKEN if not trusted and other_of_name(cls, name) is not None else home_of(cls),
    )


def needs_vouching(cls: type) -> str:
    """Return why a class is stored and read only once it is registered, empty if it needs not be.

    Code of its own would run though nobody calls it: when an object goes, or when a dict asks its class for a hash.
    """
    if owner(cls, "__del__") is not None:
        return "has a __del__ of its own, which would run when an object that was read goes"
    if derives_from_path(cls, SETTINGS_BASES):
        return "is a class of settings, which come from the environment"
    if name := runs_code(cls):
        return f"is a mapped class with a {name} of its own, which would run when a row is made"
    meta = type(cls)
    if any(type(attribute(meta, name)) is types.FunctionType for name in ("__hash__", "__eq__")):
        return f"has a metaclass with a __hash__ or __eq__ of its own, {path_of(meta)}"
    return ""


def is_value(cls: type) -> bool:
    """Say whether a class is one of pydantic's values, such as a URL or a secret, or derived from one."""
    return derives_from_path(cls, VALUE_BASES)


def _shape(cls: type, kind: int) -> Any:
    """Return what tells classes of one name and kind apart."""
    if kind == ENUM:
        return enum_shape(cls)
    texts = None if kind == NAMEDTUPLE else annotation_texts(cls, kind)
    if texts is None:
        return field_names(cls, kind)
    args = (attribute(cls, "__pydantic_generic_metadata__") or {}).get("args", ()) if kind == MODEL else ()
    marks = [layout.mark for layout in map(layout_of, filter(is_class, args)) if layout is not None]
    return [*texts.items(), *marks]
