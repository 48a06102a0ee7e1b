"""What a program says of its classes: `register_type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, overload

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime import forks
from charm_checkpoint.values.serde.class_claims import check_moved, check_names
from charm_checkpoint.values.serde.class_fields import ENUM, OBJECT, SUBCLASS, is_dataclass
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import is_class, kind_of, move, register, registered, unnamed
from charm_checkpoint.values.serde.hooks import AN_ENUM, Hook, Upgrade, check_change, check_hook, hook_of
from charm_checkpoint.values.serde.program_names import own_path

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
    upgrade: Upgrade | Mapping[int, Upgrade] | None = None,
    version: int | None = None,
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
    upgrade: Upgrade | Mapping[int, Upgrade] | None = None,
    version: int | None = None,
) -> Callable[[type[T]], type[T]]: ...
def register_type(
    cls: type[T] | None = None,
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    dump: Callable[[Any], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
    validate: bool = False,
    upgrade: Upgrade | Mapping[int, Upgrade] | None = None,
    version: int | None = None,
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
    are not those that the class has now: one went, is new, has another name, or holds what its type does not take any
    more; and for those of another kind, such as a dataclass that became a model. All others are read as they were
    stored.

    ``upgrade(fields)`` takes the stored fields, a dict by their stored names, and returns those that the class has now;
    what is still missing takes its plain default. A plain class declares no fields that could differ, so all of its
    objects go through it: it must leave alone what is up to date. With a ``version``, which is stored with each object,
    ``upgrade={1: f, 2: g}`` has a function for each version that takes its fields to the next; objects of an older one
    go through all from their own on. What was stored without a version is of the first. Of an enum's member the fields
    are its ``name`` and ``value``. A program whose version is older does not read what a newer one stored.

    With ``validate=True`` the object is made by the class itself, of these fields by their names: a pydantic model is
    validated, the constructor of a dataclass or named tuple called, so that validators, ``__post_init__`` and factories
    run; private attributes, and fields that a constructor does not take, are then set as they were stored. All three
    are for exactly this class. An error in one is a TypeNotLoaded with the path.

    Raises ConfigError when a name already belongs to another class, or the class cannot be stored at all, or not in
    this way.
    """
    if cls is None:
        later: Any = {"validate": validate, "upgrade": upgrade, "version": version}
        return partial(register_type, name=name, aliases=aliases, dump=dump, load=load, **later)
    hook = _checked_hook(cls, dump, load)
    change = check_change(cls, validate, upgrade, version, _why_no_fields(cls, hook), can_validate=_declares(cls))
    path = own_path(cls)
    with forks.lock(__name__):
        # Versions before 0.3 stored a registered Box[User] under its path, which says less of its argument.
        former = [] if name or registered(path) is not None or unnamed(cls) == path else [path]
        name = name or unnamed(cls)
        check_names(cls, name, aliases)
        register(cls, (name, *aliases, *former), hook, change)
    return cls


def _checked_hook(cls: type, dump: Any, load: Any) -> Hook | None:
    if not is_class(cls):
        raise ConfigError(f"{cls!r} is no class. Register the class itself.")
    hook = check_hook(cls, dump, load)
    if hook is None and kind_of(cls, registered=True) is None:
        raise ConfigError(
            f"{path_of(cls)} cannot be registered: its instances hold more than attributes, which could not be read "
            f"back. Store the plain data they stand for, or say how: register_type({cls.__name__}, dump=…, load=…)."
        )
    return hook


def register_moved(old: str, new: str) -> None:
    """Find what was stored of classes of a module, or package, that was renamed or moved.

    ``old`` and ``new`` are names of modules with dots, such as ``"shop.models"``; what is below ``old`` is looked for
    below ``new``. One move may follow another: with ``a`` moved to ``b`` and ``b`` to ``c``, in either order, classes
    of ``a`` are found in ``c``. Of several moves the one of the longest name holds. A class that was renamed, too, is
    found by an alias of its own: see `register_type`. ``old`` may be ``"__main__"``: so versions before 0.3 called the
    module of a script.

    A class that is still there under its former name is found there; if another one has its place in ``new``, none of
    the two is taken for the other, and saving it raises NotSerializable.

    Raises ConfigError for names that are none, for a module that moved to two places, and for moves in a circle.
    """
    with forks.lock(__name__):
        check_moved(old, new)
        move(old, new)


def _why_no_fields(cls: type, hook: Hook | None) -> str:
    """Return why a class has no stored fields, empty if it has."""
    if hook is not None or hook_of(cls) is not None:
        return "stored by its dump, and read by its load, which may take what older dumps returned"
    kind = kind_of(cls, registered=True)
    return {ENUM: AN_ENUM, SUBCLASS: "a subclass of a built-in type"}.get(kind or 0, "")


def _declares(cls: type) -> bool:
    return kind_of(cls, registered=True) != OBJECT or is_dataclass(cls)
