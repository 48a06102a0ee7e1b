"""One decoding by the engine: which classes it may restore, and which class of a name is the one."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import ormsgpack

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.codes import RAW
from charm_checkpoint.values.serde.body_shapes import decode
from charm_checkpoint.values.serde.class_lookup import (
    find_classes,
    find_known,
    other_names,
    refuse_either,
    refuse_to_guess,
)
from charm_checkpoint.values.serde.class_reading import is_typed_dict, path_of
from charm_checkpoint.values.serde.class_shapes import TAKEN, is_at, loaded
from charm_checkpoint.values.serde.classes import (
    KINDS,
    ClassLayout,
    is_held,
    is_registered,
    is_safe,
    kind_of,
    layout_of,
    name_of,
    needs_vouching,
    other_of_name,
)
from charm_checkpoint.values.serde.hooks import FIRST, version_of
from charm_checkpoint.values.serde.kinds import KindChanged, made_of
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES, STEERING
from charm_checkpoint.values.serde.program_names import program
from charm_checkpoint.values.serde.stored_names import StoredName, parts_of, split_mark
from charm_checkpoint.values.serde.telling import Finding, Tell, log_once
from charm_checkpoint.values.serde.unknown import Unknown, name_in

_QUICK_DEPTH = 8  # objects inside objects; beyond it the walk takes over, which needs no C stack for each level


class Reader:
    """One decoding: knows which classes it may restore, and each one's layout.

    ``keeps`` says that objects which cannot be restored become `Unknown`, ``strict`` that those are among them of which
    a field is stored that the class does not have; ``tell`` takes what is found.
    """

    __slots__ = ("_allowed", "_depth", "_found", "_made", "_missing", "_single", "keeps", "strict", "tell")

    def __init__(
        self, allowed: frozenset[str] | None, keeps: bool = False, strict: bool = False, tell: Tell = log_once
    ) -> None:
        self._allowed = allowed
        self.keeps = keeps
        self.strict = strict
        self.tell = tell
        self._depth = 0
        self._found: dict[str, list[tuple[Any, ClassLayout]]] = {}
        self._single: dict[str, tuple[Any, ClassLayout]] = {}
        self._missing: dict[str, str] = {}
        self._made: dict[tuple[int, int], tuple[Any, Any]] | None = None

    def unpack(self, data: bytes) -> Any:
        """Return the value of some bytes; raises ValueError where the walk has to take over."""
        self._depth = 0  # what was read before may have failed
        return ormsgpack.unpackb(data, ext_hook=self._extension)

    def _extension(self, code: int, data: bytes) -> Any:
        if code in RAW:
            body: Any = data
        else:
            if self._depth >= _QUICK_DEPTH:
                raise ValueError
            self._depth += 1
            body = ormsgpack.unpackb(data, ext_hook=self._extension)
            self._depth -= 1
        try:
            return decode(code, body, self)
        except TypeNotLoaded as error:
            return self.keep(code, data, error)

    def keep(self, code: int, data: bytes, error: TypeNotLoaded, in_columns: bool = False) -> Unknown:
        """Return what stands for an object that cannot be restored, or raise the error that says why."""
        if not self.keeps:
            raise error
        name = name_in(code, data)
        if name in STEERING:
            raise error
        said = f"{name or 'A value'} cannot be restored and is kept as it is stored: {error.reason}"
        self.tell(Finding("unknown", name, "", said))
        return Unknown(code, data, error.reason, in_columns)

    def made_of(self, cls: Any, fields: dict[str, Any]) -> Any:
        """Return an object of a class that has just these fields, or raise TypeNotLoaded.

        What is made inside another object is made once of each class, whatever the object is tried as: else trying
        several classes on each level, as a union of models that hold each other says, would be endless.
        """
        if self._made is None:
            self._made = {}
            try:
                return made_of(self, cls, fields)
            finally:
                self._made = None
        key = id(cls), id(fields)
        if key not in self._made:
            made: Any
            try:
                made = made_of(self, cls, fields)
            except TypeNotLoaded as error:
                made = error
            self._made[key] = fields, made  # with the fields, or another dict could have their id
        made = self._made[key][1]
        if isinstance(made, TypeNotLoaded):
            raise made
        return made

    def find(self, name: str, kind: int, fields: Collection[str] = ()) -> tuple[Any, ClassLayout]:
        """Return the class of a stored name and its layout, or raise TypeNotLoaded.

        ``fields`` are those stored: they decide between living classes of that name, none of which is surely the one.
        """
        single = self._single.get(name) if type(name) is str else None
        if single is not None and single[1].kind == kind:
            return single
        found = self.find_all(name, kind)
        if len(found) > 1:
            return _fitting(name, found, fields)
        self._single[name] = found[0]
        return found[0]

    def find_all(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        """Return the class of a stored name, or all that may be the one, with their layouts; or raise TypeNotLoaded."""
        found = self._found.get(name) if type(name) is str else None
        if found is None:
            if type(name) is not str:
                raise TypeError("the name of a class is text")
            if name in self._missing:
                raise TypeNotLoaded(self._missing[name])
            try:
                found = self._found[name] = self._lookup(name, kind)
            except KindChanged:
                raise
            except TypeNotLoaded as error:
                self._missing[name] = error.reason
                raise
        if kind not in (found[0][1].kind, found[0][1].was):
            raise KindChanged(split_mark(name)[0], kind, *found[0])
        return found

    def _lookup(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        short = _short.get(name)
        if short is not None and layout_of(short[0]) is short[1]:
            return [short]
        if self._allowed is None and (held := _still_held(name)) is not None:
            return [held]
        if self._allowed is not None and not self._may_restore(name, self._allowed):
            raise TypeNotLoaded(
                f"{split_mark(name)[0]} is not on the allowlist of this serializer, and not registered, which is what "
                'classes="registered" takes. Add it with with_allowlist, or call register_type(cls).'
            )
        classes = find_classes(name)
        found = [(cls, layout) for cls in classes if (layout := layout_of(cls)) is not None]
        if not found:
            if kind in KINDS and is_typed_dict(classes[0]):
                raise KindChanged(split_mark(name)[0], kind, classes[0], None)
            if why := kind_of(classes[0]) is not None and needs_vouching(classes[0]):
                raise TypeNotLoaded(
                    f"{split_mark(name)[0]} {why}. It is not restored; if it may be, call register_type(cls)."
                )
            raise TypeNotLoaded(
                f"{split_mark(name)[0]} is not a data class (pydantic model, dataclass, enum, named tuple) and not "
                "registered. It is not restored; if it is a class of yours, call register_type(cls)."
            )
        if found[0][1].home is TAKEN and (other := other_of_name(found[0][0], found[0][1].name)) is not None:
            refuse_either(split_mark(name)[0], other, found[0][0])
        if name in SHORT_NAMES:
            _short[name] = found[0]
        found = [each for each in found if kind in (each[1].kind, each[1].was)] or found
        parts = parts_of(name)
        if parts.name != found[0][1].name:
            now = found[0][1].name
            self.tell(Finding("alias", parts.name, "", f"{parts.name}, as a class is still stored, is {now} now"))
        found = [(cls, _compared(cls, layout, parts)) for cls, layout in found]
        _remember(name, *found[0])
        return found

    def _may_restore(self, name: str, allowed: frozenset[str]) -> bool:
        """Say whether a class is safe or allowed, by the name that is stored or one that it has now."""
        if is_safe(name) or not allowed.isdisjoint(spellings(name)):
            return True
        if any(not allowed.isdisjoint(spellings(each)) for each in other_names(split_mark(name)[0])):
            return True
        cls = find_known(name)
        if cls is None:
            return False
        names = spellings(name_of(cls)) | spellings(path_of(cls))
        return is_registered(cls) or not allowed.isdisjoint(names) or any(loaded(each) is cls for each in allowed)


def _compared(cls: Any, layout: ClassLayout, stored: StoredName) -> ClassLayout:
    """Return a layout that says whether the class is another now than when it was stored under a name."""
    if stored.suffix == layout.suffix:
        return layout
    version = version_of(cls) or FIRST
    if (stored.version or FIRST) > version:
        raise TypeNotLoaded(
            f"{stored.name} was stored in version {stored.version} by a newer program; this one has version {version} "
            "of it. Bring this program up to date."
        )
    if not stored.suffix and version == FIRST:  # stored before there were any: nothing is known of it
        return replace(layout, required=frozenset()) if layout.required else layout
    return replace(layout, changed=stored.changed(parts_of(layout.stored)))


_short: dict[str, tuple[Any, ClassLayout]] = {}
"""The classes of short names that were found, with the layouts they had: messages, most of them."""


_held: dict[str, tuple[weakref.ref[Any], ClassLayout]] = {}
"""The classes that a module holds under the very names that are stored, with the layouts they had."""
MOST_HELD = 1024


def _remember(name: str, cls: Any, layout: ClassLayout) -> None:
    home = layout.home
    if layout.stored == name and home and name.startswith(f"{home[0]}:") and is_at(cls, *home) and home[0] != program():
        if len(_held) >= MOST_HELD:
            _held.clear()
        _held[name] = weakref.ref(cls), layout


def _still_held(name: str) -> tuple[Any, ClassLayout] | None:
    """Return a class that was found under a name, if nothing has changed since that could find another one."""
    known = _held.get(name)
    if known is None:
        return None
    cls, layout = known[0](), known[1]
    is_same = cls is not None and layout.home is not None and layout_of(cls) is layout and is_at(cls, *layout.home)
    return (cls, layout) if is_same else None


def _fitting(name: str, found: Sequence[tuple[Any, ClassLayout]], fields: Collection[str]) -> tuple[Any, ClassLayout]:
    for cls, layout in found:
        if layout.names == frozenset(fields):
            return cls, layout
    return found[0] if is_held(found[0][0]) else refuse_to_guess(name)


def spellings(name: str) -> set[str]:
    """Return what an allowlist may call a stored class: ``module:Outer.Inner[arg]`` or ``module:Inner``."""
    whole = split_mark(name)[0]
    plain = whole.partition("[")[0]
    module, _, qualname = plain.partition(":")
    return {whole, plain, f"{module}:{qualname.rpartition('.')[2]}"}
