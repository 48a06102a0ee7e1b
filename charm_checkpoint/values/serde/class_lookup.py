"""From a stored name to its class, among those this process has.

Nothing here imports a module or calls an object because stored data names it. A stored name finds, in this order:
a registered class, a class of the fixed tables, or a data class that lives in this process: the one a module holds
under that name, one of the shape that was stored, the newest.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.moved import present_name
from charm_checkpoint.values.serde.class_reading import attribute, bases_of, qualname_of
from charm_checkpoint.values.serde.class_shapes import loaded, split_mark
from charm_checkpoint.values.serde.classes import BUILTINS, kind_of, layout_of, name_of, registered
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES

_imported: dict[str, type] = {}
_families: dict[str, list[weakref.ref[type]]] = {}
_missed: dict[str, set[str]] = {}
"""Marks that no class of a name has, though all classes were searched for it."""
MOST_MISSED = 64
"""Such marks of all names together, from which on all classes are not searched for further ones."""
LONGEST_NAME = 20_000
"""Characters of a stored name that are looked for among all classes."""


def find_class(name: str) -> type:
    """Return the class a stored name stands for, or raise TypeNotLoaded."""
    return find_classes(name)[0]


def find_classes(name: str) -> Sequence[type]:
    """Return the class a stored name stands for, or raise TypeNotLoaded.

    Where classes of several shapes have that name and none is the one that was stored, they are all returned, first
    the one that a module holds, then the newest: what is stored shows which of them it fits.
    """
    if len(name) > LONGEST_NAME:
        raise TypeNotLoaded(f"no class has a name of {len(name):,} characters, such as is stored: {name[:80]!a}…")
    bare, mark = split_mark(name)
    module, _, rest = bare.partition(":")
    if moved_to := present_name(module):
        bare = f"{moved_to}:{rest}"  # a class of this package, such as ThreadInfo
    known = _fixed(name) or (_fixed(bare) if mark else None)
    if known is not None:
        return (known,)
    held = loaded(bare)
    if held is not None and (not mark or _mark(held) == mark):
        return (held,)
    shapes = _shapes(bare, mark, held)
    if not shapes:
        raise TypeNotLoaded(
            f"{bare} is not loaded in this process. Import the module that defines it before reading; if it was "
            f"renamed or moved, call register_type(cls, aliases=[{bare!r}])."
        )
    return (shapes[mark],) if mark in shapes else list(shapes.values())


def _shapes(name: str, mark: str, held: type | None) -> dict[str, type]:
    """Return the class to take for each shape that classes of this name have."""
    for found in (_living(name), None):
        if found is None:  # the shape that is looked for may be that of a class with other bases
            found = _living(name, anew=True)
        shapes = {} if held is None else {_mark(held): held}
        for cls in found if mark or not name.endswith("]") else _of_held_origin(found, name):
            shapes.setdefault(_mark(cls), cls)
        if not mark or mark in shapes or mark in _missed.get(name, ()):
            return shapes
        if sum(map(len, _missed.copy().values())) >= MOST_MISSED:
            return shapes
    _missed.setdefault(name, set()).add(mark)
    return shapes


def _of_held_origin(found: Sequence[Any], name: str) -> list[type]:
    """Leave those made of a generic model that its module no longer holds."""
    held = _held_origin(name)
    return [cls for cls in found if held is None or attribute(cls, "__pydantic_generic_metadata__")["origin"] is held]


def _held_origin(name: str) -> type | None:
    origin = name.partition("[")[0]
    return _fixed(origin) or loaded(origin)


def refuse_to_guess(name: str) -> NoReturn:
    """Raise TypeNotLoaded: several classes have a stored name, and none is surely the one."""
    bare = split_mark(name)[0]
    raise TypeNotLoaded(
        f"{bare} is the name of several classes of this process, and none has the shape that was stored. Keep one of "
        f"them, or give the right one a name of its own: register_type(cls, aliases=[{bare!r}])."
    )


def _mark(cls: type) -> str:
    layout = layout_of(cls)
    return layout.mark if layout is not None else ""


def _fixed(name: str) -> type | None:
    return (
        _imported.get(name)
        or registered(name)
        or BUILTINS.get(name)
        or (_import(name) if name in SHORT_NAMES else None)
    )


def _import(name: str) -> type:
    """Import a class of the fixed table; only the table's own text ever reaches the import."""
    module, _, qualname = SHORT_NAMES[name].partition(":")
    try:
        cls: type = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError) as exc:
        package = module.partition(".")[0]
        raise TypeNotLoaded(f"{qualname} is not in this process's {package} ({exc}). Install a newer one.") from exc
    _imported[name] = cls
    return cls


def _living(name: str, anew: bool = False) -> list[type]:
    """Return the classes that live in this process under a name, the newest first; ``anew`` searches all."""
    if name.endswith("]"):
        return [cls for cls in _parametrised(name) if _is_named(cls, name)]
    known = [cls for ref in _families.get(name, ()) if (cls := ref()) is not None and _is_named(cls, name)]
    if anew or not known:
        found = [cls for cls in _all_classes() if _is_named(cls, name)][::-1]
    else:
        found = [*_newer(known, name), *known]
    if len(found) != len(known):
        _missed.pop(name, None)
    if found:
        _families[name] = list(map(weakref.ref, found))
    return found


def _newer(known: Sequence[type], name: str) -> list[type]:
    """Return the classes of that name that their bases got since those known, which spares a search of all."""
    seen = set(map(id, known))  # by id: a metaclass may have a hash of its own
    found: dict[int, type] = {}
    for base in {id(base): base for cls in known for base in bases_of(cls)}.values():
        children: list[type] = type.__subclasses__(base)
        for cls in reversed(children):
            if id(cls) in seen:
                break
            if _is_named(cls, name):
                found[id(cls)] = cls
    return list(found.values())


def _parametrised(name: str) -> Iterator[type]:
    """Yield the classes made of generic models of a name's origin, by giving them arguments."""
    held = _held_origin(name)
    origins = {id(cls): cls for cls in (*((held,) if held else ()), *_living(name.partition("[")[0]))}
    for origin in origins.values():
        yield from reversed(type.__subclasses__(origin))


def _is_named(cls: type, name: str) -> bool:
    likely = name.endswith("]") or qualname_of(cls) in name
    return likely and kind_of(cls) is not None and name_of(cls) == name


def _all_classes() -> Iterator[type]:
    seen = {id(object)}
    todo = [object]
    while todo:
        for cls in type.__subclasses__(todo.pop()):
            if id(cls) not in seen:
                seen.add(id(cls))
                todo.append(cls)
                yield cls
