"""From a stored name to its class, among those this process has.

Nothing here imports a module or calls an object because stored data names it. A stored name finds, in this order:
a registered class, a class of the fixed tables, or a data class that lives in this process: the one a module holds
under that name, one of the shape that was stored, the newest.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, NoReturn

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.moved import present_name
from charm_checkpoint.values.serde.class_reading import (
    attribute,
    bases_of,
    module_of,
    path_of,
    qualname_of,
    space_of_class,
)
from charm_checkpoint.values.serde.class_shapes import loaded
from charm_checkpoint.values.serde.classes import (
    BUILTINS,
    is_registered,
    kind_of,
    layout_of,
    name_of,
    owner_of,
    registered,
)
from charm_checkpoint.values.serde.generics import make, parametrised, split_arguments
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES, SINCE
from charm_checkpoint.values.serde.moved_modules import moved_names
from charm_checkpoint.values.serde.program_names import (
    MAINS,
    is_same_class,
    later,
    living_name,
    own_path,
    program,
    programs_names,
)
from charm_checkpoint.values.serde.searches import may_search, searched
from charm_checkpoint.values.serde.stored_names import split_mark

_imported: dict[str, type] = {}
_families: dict[str, list[weakref.ref[type]]] = {}
_missed: dict[str, set[str]] = {}
"""Marks that no class of a name has, though all classes were searched for it."""
MOST_MISSED = 64
"""Such marks of all names together, from which on all classes are not searched for further ones."""
MOST_BRACKETS = 16
"""Arguments of generic models inside each other that are looked for by themselves."""
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
    known = _fixed(name) or _fixed(bare)
    if known is not None:
        return (known,)
    held = _held(bare)
    if held is not None and is_registered(held) and (owner := _moved_to(bare)) is not None:
        held = owner  # it has another name, and so what has this one is what moved
    if held is not None and (not mark or _mark(held) == mark):
        return (held,)
    others = other_names(bare)
    if held is None and (found := _under_others(others, mark)) is not None:
        return (found,)
    if held is not None or may_search(bare, bool(mark)):
        began = monotonic()
        for each in dict.fromkeys((bare, *others)):  # each search goes over all classes
            shapes = _shapes(each, mark, held)
            if shapes:
                return (shapes[mark],) if mark in shapes else list(shapes.values())
        searched(bare, began)
    if (arguments := split_arguments(bare)) is not None:
        return (_generic(bare, *arguments),)
    if (found := _by_dots(bare)) is not None:
        return (found,)
    raise TypeNotLoaded(_not_loaded(bare))


def find_known(name: str) -> type | None:
    """Return the class that a stored name stands for, if no search of all classes is needed to find it.

    Of a generic model with arguments, that is the model without them.
    """
    bare = split_mark(name)[0].partition("[")[0]
    return _fixed(bare) or _held(bare) or _under_others(other_names(bare), "")


def _under_others(names: Sequence[str], mark: str) -> type | None:
    """Return the class that is registered, or held by a module, under other names of a stored one."""
    for each in names:
        found = _fixed(each) or _held(each) or _inside(each)
        if found is not None and (not mark or _mark(found) in ("", mark)):
            return found
    return None


def other_names(name: str) -> list[str]:
    """Return under what else a class may be found: the program's own module has two names, and others moved since.

    The name itself is among them, for what may be inside another class.
    """
    module, colon, rest = name.partition(":")
    if not colon:
        return []
    modules = [module]
    main, own = program(), programs_names()
    for each in (module, *moved_names(module)):
        modules += [each, *(("__main__", main) if each in MAINS or each in own else ())]
        modules.append(living_name(each))
    return [f"{each}:{rest}" for each in dict.fromkeys(modules) if each]


def _moved_to(name: str) -> type | None:
    module, _, rest = name.partition(":")
    return next((cls for each in moved_names(module) if (cls := owner_of(f"{each}:{rest}")) is not None), None)


def _held(name: str) -> type | None:
    """Return the class that a module holds under a name; if the program's own is loaded twice, the later one."""
    held = loaded(name)
    module, _, rest = name.partition(":")
    if module != program():
        return held
    own = loaded(f"__main__:{rest}")
    if own is None or own is held or module_of(own) not in MAINS:
        return held
    return own if held is None else later(held, own)


def _inside(name: str) -> type | None:
    """Return a class that stands inside another one, which is registered under a former name."""
    module, _, qualname = name.partition(":")
    parts = qualname.partition("[")[0].split(".")
    for size in range(len(parts) - 1, 0, -1):
        found: Any = registered(f"{module}:{'.'.join(parts[:size])}")
        for part in parts[size:] if found is not None else ():
            found = space_of_class(found).get(part) if isinstance(found, type) else None
        if isinstance(found, type):
            return found
    return None


def _by_dots(name: str) -> type | None:
    """Return the class that has a path as an alias which was written with a dot in place of its colon."""
    dotted = name.replace(":", ".")
    cls = registered(dotted) if dotted != name else None
    return None if cls is None or name_of(cls) == dotted else cls


def _generic(name: str, origin: str, texts: Sequence[str]) -> type:
    """Return the class of a generic model with arguments, both found by themselves; or raise TypeNotLoaded."""
    cls = find_known(origin) if name.count("[") <= MOST_BRACKETS else None
    if cls is None or attribute(cls, "__pydantic_generic_metadata__") is None:
        raise TypeNotLoaded(_not_loaded(name))
    return parametrised(cls, texts, _plain) or make(name, cls, texts, _plain)


def _plain(name: str) -> type | None:
    """Return the class that an argument of a generic model is, None for one that is no data."""
    arguments = split_arguments(name)
    cls = find_known(name)
    if cls is not None and arguments is not None:
        return _generic(name, *arguments)
    is_plain = any(cls is each for each in BUILTINS.values())
    return cls if cls is not None and (is_plain or layout_of(cls) is not None) else None


def _not_loaded(name: str) -> str:
    if name.startswith("__main__:"):
        return (
            f"{name} is not loaded in this process: a script stored it that is not this program. Name its module, such "
            "as register_moved('__main__', 'app'), and import that before reading."
        )
    return (
        f"{name} is not loaded in this process. Import the module that defines it before reading; if it was renamed or "
        f"moved, call register_type(cls, aliases=[{name!r}]), or register_moved for all of its module."
    )


def _shapes(name: str, mark: str, held: type | None) -> dict[str, type]:
    """Return the class to take for each shape that classes of this name have."""
    for found in (_living(name), None):
        if found is None:  # the shape that is looked for may be that of a class with other bases
            found = _living(name, anew=True)
        shapes = {} if held is None else {_mark(held): held}
        for cls in found if mark or not name.endswith("]") else _of_held_origin(found, name):
            shapes.setdefault(_mark(cls), cls)
        if not shapes or not mark or mark in shapes or mark in _missed.get(name, ()):
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
    return _fixed(origin) or _held(origin)


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


def check_whose(name: str, cls: type) -> None:
    """Raise TypeNotLoaded if a stored name is that of another class, too, which the program did not register."""
    other = owner_of(name)
    if other is not None and not is_same_class(other, cls):
        refuse_either(name, cls, other)


def refuse_either(name: str, cls: type, other: type) -> NoReturn:
    """Raise TypeNotLoaded: two classes claim a stored name."""
    raise TypeNotLoaded(
        f"{name} is the name of {own_path(other)}, and what {own_path(cls)} was stored as: which is meant, nothing "
        f"says. Give the first a name of its own, register_type({other.__name__}, name=…), or remove one claim."
    )


def _claimed(name: str) -> type | None:
    cls = registered(name)
    if cls is not None and ":" in name and name != path_of(cls):
        check_whose(name, cls)
    return cls


def _fixed(name: str) -> type | None:
    return (
        _imported.get(name) or _claimed(name) or BUILTINS.get(name) or (_import(name) if name in SHORT_NAMES else None)
    )


def _import(name: str) -> type:
    """Import a class of the fixed table; only the table's own text ever reaches the import."""
    module, _, qualname = SHORT_NAMES[name].partition(":")
    try:
        cls: type = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError) as exc:
        package = module.partition(".")[0]
        wanted = f"{SINCE[name]} or newer" if name in SINCE else "a newer one"
        raise TypeNotLoaded(f"{qualname} is not in this process's {package} ({exc}). Install {wanted}.") from exc
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
