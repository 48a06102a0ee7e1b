"""The program's own module under its real name: Python calls it ``__main__``, whatever it is.

``python app.py``, ``python -m app`` and ``import app`` run one file, and what one of them stored the others read: a
class is stored under the name that an import would give its module. A notebook, an interactive session and
``python -c`` have no such name, and remain ``__main__``.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec
from typing import Any

from charm_checkpoint.values.serde.class_reading import (
    module_of,
    module_space,
    mro_of,
    path_of,
    qualname_of,
)

MAINS = frozenset({"__main__", "__mp_main__"})
"""What the program's module is called: by Python, and by multiprocessing in the processes that it spawns."""
_INSTALLED = ("site-packages", "dist-packages")
_NO_NAME = re.compile(r"[:\[\]#@,]")
"""Characters of a file's name that have a meaning in stored names."""
_MAIN = re.compile(r"(?<![\w.])__(mp_)?main__\.")


def program() -> str:
    """Return the real name of the program's module, empty where it has none."""
    space = module_space("__main__")
    name = _name_in(space) if space is not None else ""
    if name or "__mp_main__" not in sys.modules:
        return name
    space = module_space("__mp_main__")  # which a process has alone while it comes to be
    return _name_in(space) if space is not None else ""


def _name_in(space: Mapping[str, Any]) -> str:
    global _last
    spec, file, name = _last
    if space.get("__file__") is not file or space.get("__spec__") is not spec or not name:
        spec, file = space.get("__spec__"), space.get("__file__")
        named = spec.name if isinstance(spec, ModuleSpec) else "__main__"
        if type(named) is str and named not in MAINS:
            _last = spec, file, named
            return named
        if type(file) is not str or (space.get("__loader__") is None and hasattr(sys, "ps1")):
            return ""  # the latter: a file that an interactive session runs, among others
        name = _name_of_file(file)
        _last = spec, file, name
    if name not in sys.modules or spec is not None:
        return name
    # A script may be called as a module is that has nothing to do with it.
    other = module_space(name)
    return "" if other is not None and other is not space and not _is_file(other, file) else name


_last: tuple[Any, Any, str] = (None, None, "")
"""What was last asked for: this is asked each time that a class is found."""


@lru_cache(maxsize=64)
def _name_of_file(file: str) -> str:
    """Return the name that an import gives the module of a file, with the packages that its folders are."""
    folder, base = os.path.split(os.path.abspath(file))
    parts = [os.path.splitext(base)[0]]
    if parts == ["__main__"]:  # what runs when a folder or archive does
        folder, base = os.path.split(folder)
        parts.insert(0, os.path.splitext(base)[0])
    elif parts == ["__init__"]:
        parts = []
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, base = os.path.split(folder)
        if not base:
            break
        parts.insert(0, base)
    return ".".join(_NO_NAME.sub("_", part) for part in parts)


def programs_names() -> frozenset[str]:
    """Return all names that what this program's own file holds may be stored under, none where it has no name.

    ``python app.py`` beside an ``__init__.py`` is ``folder.app``, and ``python -m app`` there is ``app``.
    """
    name, space = program(), module_space("__main__")
    file = space.get("__file__") if space is not None else None
    if not name or type(file) is not str:
        return frozenset((name,) if name else ())
    packaged = _name_of_file(file)
    stem = packaged if packaged.endswith("__main__") else packaged.rpartition(".")[2]
    return frozenset((name, packaged, stem))


def living_name(module: str) -> str:
    """Return the name under which a module is loaded of which a program stored classes as of ``folder.module``.

    That is the last part of it, if that module's file is in such a folder; empty if there is none.
    """
    last = module.rpartition(".")[2]
    space = module_space(last) if last != module and module not in sys.modules else None
    file = space.get("__file__") if space is not None else None
    return last if type(file) is str and _name_of_file(file) == module else ""


def _is_file(space: Mapping[str, Any], file: str) -> bool:
    other = space.get("__file__")
    return type(other) is str and _real(other) == _real(file)


@lru_cache(maxsize=256)
def _real(file: str) -> str:
    return os.path.realpath(file)


def module_name(cls: type) -> str:
    """Return the name of the module in which a class was defined: of the program's own, its real one."""
    module = module_of(cls)
    return (_program_of(cls, module) or "__main__") if module in MAINS else module


def own_path(cls: type) -> str:
    """Return where a class was defined, as ``module:qualname``, with the real name of the program's module."""
    return path_of(cls) if module_of(cls) not in MAINS else f"{module_name(cls)}:{qualname_of(cls)}"


def in_program(text: str) -> str:
    """Return a type's text with the program's real name in it, as an import of the program would have it."""
    if "main__." not in text:
        return text
    name = program()
    return _MAIN.sub(lambda _: f"{name}.", text) if name else text


def _program_of(cls: type, module: str) -> str:
    """Return the name of the program that a class was defined in, once and for all.

    What runs several programs in one process puts each in the place of the one before.
    """
    key = id(cls)
    known = _known.get(key)
    if known is not None and known[0]() is cls:
        return known[1]
    space = module_space(module)
    name = _name_in(space) if space is not None else ""
    if space is None or not name or not _defined(cls, module, space):
        return ""
    _known[key] = weakref.ref(cls, lambda ref: _forget(key, ref)), name
    return name


_known: dict[int, tuple[weakref.ref[type], str]] = {}


def _forget(key: int, ref: weakref.ref[type]) -> None:
    if _known.get(key, (None,))[0] is ref:
        del _known[key]


def _defined(cls: type, module: str, space: Mapping[str, Any]) -> bool:
    """Say whether it was a module of this namespace that defined a class, as far as can be told."""
    outermost = re.split(r"[.\[]", qualname_of(cls))[0]
    if outermost in space or any(value is cls for value in list(space.values())):
        return True
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if frame.f_globals is space:  # it is being defined
            return True
        frame = frame.f_back
    file = space.get("__file__")
    is_program = module == "__mp_main__" or space.get("__loader__") is not None
    return is_program and type(file) is str and not _is_installed(file)


def _is_installed(file: str) -> bool:
    if not {*file.replace("\\", "/").split("/")}.isdisjoint(_INSTALLED):
        return True
    return _real(os.path.dirname(file)).startswith(_real(os.path.dirname(os.__file__)))


def is_same_class(one: type, other: type) -> bool:
    """Say whether two classes are one, defined by the same lines: run anew, or in a module that is loaded twice."""
    if one is other:
        return True
    if qualname_of(one) != qualname_of(other):
        return False
    if module_name(one) == module_name(other):
        return True
    spaces = module_space(module_of(one)), module_space(module_of(other))
    files = [None if space is None else space.get("__file__") for space in spaces]
    return type(files[0]) is type(files[1]) is str and _real(files[0]) == _real(files[1])


def later(one: type, other: type) -> type:
    """Return that of two classes which was defined later: of a module that is loaded twice, the program uses that."""
    bases = {id(base) for base in mro_of(other)}
    common = next(base for base in mro_of(one) if id(base) in bases)
    for cls in reversed(type.__subclasses__(common)):
        for each in (other, one):
            if any(base is cls for base in mro_of(each)):
                return each
    return one
