"""What a program says of its classes: `register_type`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, overload

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.values.serde.class_fields import ENUM, OBJECT, SUBCLASS, is_dataclass
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import is_class, kind_of, register
from charm_checkpoint.values.serde.hooks import Hook, Upgrade, check_change, check_hook, hook_of

T = TypeVar("T")


@overload
def register_type(
    cls: type[T],
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[T], Any] | None = None,
    load: Callable[[Any], T] | None = None,
    validate: bool = False,
    upgrade: Upgrade | None = None,
) -> type[T]: ...
@overload
def register_type(
    cls: None = None,
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[Any], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
    validate: bool = False,
    upgrade: Upgrade | None = None,
) -> Callable[[type[T]], type[T]]: ...
def register_type(
    cls: type[T] | None = None,
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[Any], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
    validate: bool = False,
    upgrade: Upgrade | None = None,
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let instances of a class be stored, and choose the name they are stored under.

    Pydantic models, dataclasses, enums and named tuples need no registration; register one to give it a name that
    survives renaming (``name``), or to revive what was stored under former names (``aliases``, such as
    ``"old.module:User"``). Plain classes and subclasses of built-in types are stored only once registered: by their
    attributes, without calling ``__init__``. Works as a decorator, with and without arguments.

    A class of any kind, foreign ones too, is stored as what ``dump(object)`` returns, which may hold anything that can
    be stored, and comes back as what ``load(data)`` makes of it. Both are for exactly this class, not for subclasses.
    ``dump`` may run in another thread, beside the program, and should return the same for the same content.

    Reading validates nothing, unless it is asked for. ``upgrade`` and ``validate`` are for objects whose stored fields
    are not those that the class has now: one went, is new, or has another name. All others are read as they were
    stored, also where just the type of a field changed.

    ``upgrade(fields)`` takes the stored fields, a dict by their stored names, and returns those that the class has now;
    what is still missing takes its plain default. A plain class declares no fields that could differ, so all of its
    objects go through it: it must leave alone what is up to date. With ``validate=True`` the object is made by the
    class itself, of these fields by their names: a pydantic model is validated, the constructor of a dataclass or named
    tuple called, so that validators, ``__post_init__`` and factories run; private attributes, and fields that a
    constructor does not take, are then set as they were stored. Both are for exactly this class. An error in either is
    a TypeNotLoaded with the path.

    Raises ConfigError when a name already belongs to another class, or the class cannot be stored at all, or not in
    this way.
    """
    if cls is None:
        return partial(
            register_type, name=name, aliases=aliases, dump=dump, load=load, validate=validate, upgrade=upgrade
        )
    if not is_class(cls):
        raise ConfigError(f"{cls!r} is no class. Register the class itself.")
    hook = check_hook(cls, dump, load)
    if hook is None and kind_of(cls, registered=True) is None:
        raise ConfigError(
            f"{path_of(cls)} cannot be registered: its instances hold more than attributes, which could not be read "
            f"back. Store the plain data they stand for, or say how: register_type({cls.__name__}, dump=…, load=…)."
        )
    change = check_change(cls, validate, upgrade, _why_no_fields(cls, hook), can_validate=_declares(cls))
    register(cls, (name or path_of(cls), *aliases), hook, change)
    return cls


def _why_no_fields(cls: type, hook: Hook | None) -> str:
    """Return why a class has no stored fields, empty if it has."""
    if hook is not None or hook_of(cls) is not None:
        return "stored by its dump, and read by its load, which may take what older dumps returned"
    kind = kind_of(cls, registered=True)
    return {ENUM: "an enum", SUBCLASS: "a subclass of a built-in type"}.get(kind or 0, "")


def _declares(cls: type) -> bool:
    return kind_of(cls, registered=True) != OBJECT or is_dataclass(cls)
