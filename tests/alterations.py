"""The package with a constant altered, or a piece of a source file: for a process that has not imported it yet."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from struct import Struct
from types import CodeType, ModuleType
from typing import Any, NamedTuple

PACKAGE = "charm_checkpoint."


class Alteration(NamedTuple):
    """What is altered: a constant or a text, in a module, a package (``stores.sqlite.``) or scripts (``.lua``)."""

    place: str
    name: str
    old: str = ""
    new: str = ""


def altered(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bytes):
        return bytes((value[0] ^ 0x40,)) + value[1:] if len(value) < 64 else b"x" + value[:-1]
    if isinstance(value, int):
        return value + 100
    if isinstance(value, str):
        return value + "~"
    if isinstance(value, tuple):
        return tuple(map(altered, value))
    if isinstance(value, frozenset):
        return frozenset()
    if isinstance(value, dict):
        return {altered(key): item for key, item in value.items()}
    if isinstance(value, Struct):
        return Struct(value.format.replace(">", "<"))
    if isinstance(value, slice):
        return slice(value.start - 8, value.stop - 8)
    if isinstance(value, re.Pattern):
        return re.compile("(?!)" if isinstance(value.pattern, str) else b"(?!)")
    raise TypeError(f"{value!r} is no constant")


def is_constant(value: Any) -> bool:
    """Tell whether a value is of a kind that is altered."""
    if isinstance(value, (tuple, frozenset)):
        return bool(value) and all(isinstance(item, (str, bytes, int)) for item in value)
    return isinstance(value, (bytes, int, str, Struct, slice, re.Pattern)) and not isinstance(value, bool)


def assigned(source: str) -> dict[str, int]:
    """Return the names that a module assigns, with the line on which that ends."""
    found: dict[str, int] = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if _is_annotated(node) else []
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found.update((name.id, node.end_lineno or 0) for name in names if isinstance(name, ast.Name))
    return found


def _is_annotated(node: ast.stmt) -> bool:
    if not isinstance(node, ast.AnnAssign) or node.value is None:
        return False
    return not (isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias")


def edited(source: str, change: Alteration) -> str:
    """Return a module's source with an alteration made in it."""
    if change.old:
        assert change.old in source or change.place.endswith("."), change
        return source.replace(change.old, change.new)
    lines = source.splitlines(keepends=True)
    line = f"{change.name} = __import__('alterations').altered({change.name})\n"
    return "".join((*lines[: assigned(source)[change.name]], line, *lines[assigned(source)[change.name] :]))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, change: Alteration) -> None:
        super().__init__(name, path)
        self._change = change

    def get_code(self, fullname: str) -> CodeType:  # without the cache of compiled files
        return compile(edited(self.get_data(self.path).decode(), self._change), self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, change: Alteration) -> None:
        self._change = change

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        place = PACKAGE + self._change.place
        if name != place and not (place.endswith(".") and name.startswith(place)):
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.origin is not None
        spec.loader = _Loader(name, spec.origin, self._change)
        return spec


def alter(change: Alteration) -> None:
    """Have what is imported of the package from now on be altered so."""
    assert not any(name.startswith(PACKAGE) for name in sys.modules)
    if not change.place.endswith((".lua", ".sql")):
        sys.meta_path.insert(0, _Finder(change))
        return
    from charm_checkpoint.runtime import packed_program

    read = packed_program.read_resource

    def read_resource(*path: str) -> str:
        text = read(*path)
        return text.replace(change.old, change.new) if path[-1].endswith(change.place) else text

    packed_program.read_resource = read_resource
