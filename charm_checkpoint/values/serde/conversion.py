"""Stored values of fields whose annotation is another now: held against it, and converted where that loses nothing.

A plain dict becomes an object of the data class that is annotated in its place, if it has just the fields of the class,
each of its type. Whatever else does not fit is an error that names the field. No code of a class runs, unless its
program registered it for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import (
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    declared_fields,
    is_dataclass,
)
from charm_checkpoint.values.serde.class_reading import attribute, name_in_code, path_of
from charm_checkpoint.values.serde.classes import ClassLayout, layout_of
from charm_checkpoint.values.serde.defaults import NOTHING, harmless, parts_of
from charm_checkpoint.values.serde.field_hints import known_hints
from charm_checkpoint.values.serde.hints import ANYTHING, Hint, Named, OneOf, Written, shown, shown_value
from charm_checkpoint.values.serde.kept import Teller
from charm_checkpoint.values.serde.matching import LEVELS, Misfit, is_same, misfit, told
from charm_checkpoint.values.serde.telling import Finding

Make: TypeAlias = Callable[[Any, "dict[str, Any]"], Any]
"""Makes an object of a class of plain fields; raises TypeNotLoaded, which says why, where they are not just its own."""


class DoesNotFit(Exception):
    """A value is not of a type, and is not converted to it."""

    def __init__(self, found: Misfit, why: str = "") -> None:
        super().__init__(found.what)
        self.found = found
        self.why = why
        """Why an object of the class that is annotated cannot be made of it, empty if none was tried."""

    def within(self, step: str) -> DoesNotFit:
        """Return the same of something that a value holds."""
        return DoesNotFit(self.found.within(step), self.why)


def misfits(cls: type, layout: ClassLayout, differ: frozenset[str] | None, stored: Mapping[str, Any]) -> str:
    """Return why a stored value cannot be that of its field now, empty if all may be.

    Only fields that ``differ`` are looked at, all if that is None. What a field has as its default fits.
    """
    for name, hint in _looked_at(cls, layout, differ, stored):
        found = misfit(hint, stored[name])
        if found is not None and not _is_default(cls, layout, name, stored[name]):
            return _said(cls, name, hint, DoesNotFit(found))
    return ""


def as_annotated(
    teller: Teller, cls: type, layout: ClassLayout, differ: frozenset[str] | None, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields, of those that ``differ``, whose stored value had to be converted, with what it became.

    Raises TypeNotLoaded, which names the field, for a value that does not fit and is not converted.
    """
    found = {}
    for name, hint in _looked_at(cls, layout, differ, stored):
        value = stored[name]
        try:
            made = converted(hint, value, teller.made_of)
        except DoesNotFit as error:
            if _is_default(cls, layout, name, value):
                continue
            raise TypeNotLoaded(_said(cls, name, hint, error)) from None
        if made is not value:
            found[name] = made
            said = f"{path_of(cls)}.{name} is {shown(hint)} now, and read as that; it was stored as plain data."
            teller.tell(Finding("changed", path_of(cls), name, said))
    return found


def _looked_at(
    cls: type, layout: ClassLayout, differ: frozenset[str] | None, stored: Mapping[str, Any]
) -> list[tuple[str, Hint]]:
    if differ is not None and differ.isdisjoint(stored):
        return []
    hints = known_hints(cls, layout.was)
    names = [name for name in layout.fields if name in stored and (differ is None or name in differ)]
    return [(name, hints.get(name, ANYTHING)) for name in names]


def _said(cls: type, name: str, hint: Hint, error: DoesNotFit) -> str:
    why = f", of which none can be made: {error.why.rstrip('.')}" if error.why else ""
    return (
        f"{path_of(cls)}.{name} {told(hint, error.found)}{why}. Say what becomes of it: "
        f"register_type({name_in_code(cls)}, upgrade=…), from the stored fields to those of now."
    )


def _is_default(cls: type, layout: ClassLayout, name: str, value: Any) -> bool:
    """Say whether a value is its field's default, which no validator has seen."""
    if layout.was == NAMEDTUPLE:
        return is_same((attribute(cls, "_field_defaults") or {}).get(name, NOTHING), value)
    declared = declared_fields(cls, layout.was).get(name)
    if declared is None:
        return False
    default, factory = parts_of(declared)
    make = harmless(factory) if factory is not NOTHING else None
    return is_same(default, value) or (make is not None and is_same(make(), value))


# -- conversions ------------------------------------------------------------------------------------------------------


def converted(hint: Hint, value: Any, make: Make, levels: int = LEVELS) -> Any:
    """Return a value as a type has it: itself if it fits, or with objects in the place of plain dicts.

    Raises DoesNotFit where that cannot be.
    """
    if isinstance(hint, Written):
        hint = hint.read()
    found = misfit(hint, value, levels)
    if found is None:
        return value
    if isinstance(hint, OneOf):
        return _one_of(hint, value, make, found, levels - 1)
    if isinstance(hint, Named):
        if type(value) is dict and is_made_of_fields(hint.cls):
            try:
                return make(hint.cls, value)
            except TypeNotLoaded as error:
                raise DoesNotFit(found, error.reason) from error
        if hint.parts:
            return _parts(hint, hint.parts, value, make, found, levels - 1)
    raise DoesNotFit(found)


def is_made_of_fields(cls: type) -> bool:
    """Say whether objects of a class are made of their fields, so that a dict of these may stand for one."""
    layout = layout_of(cls)
    if layout is None or layout.kind != layout.was or layout.is_root_model or layout.mapped:
        return False
    return layout.was in (MODEL, MODEL_V1, NAMEDTUPLE) or (layout.was == OBJECT and is_dataclass(cls))


def _one_of(hint: OneOf, value: Any, make: Make, found: Misfit, levels: int) -> Any:
    made, errors = [], []
    for option in hint.options:
        try:
            made.append(converted(option, value, make, levels))
        except DoesNotFit as error:
            errors.append(error)
    if len(made) == 1:
        return made[0]
    if made:
        raise DoesNotFit(found, "it could be more than one of them")
    tried = [error for error in errors if error.why]
    raise tried[0] if len(tried) == 1 else DoesNotFit(found)


def _parts(hint: Named, parts: tuple[Hint, ...], value: Any, make: Make, found: Misfit, levels: int) -> Any:
    """Return a container with what it holds converted."""
    kind = type(value)

    def inside(part: Hint, item: Any, step: Any) -> Any:
        try:
            return converted(part, item, make, levels)
        except DoesNotFit as error:
            raise error.within(f"[{step}]") from error

    if kind is dict and len(parts) == 2 and misfit(Named(hint.cls), value) is None:
        return {key: inside(parts[1], item, shown_value(key)) for key, item in value.items()}
    if kind is tuple and hint.cls is tuple and not hint.more and len(parts) == len(value):
        return tuple(inside(part, item, n) for n, (part, item) in enumerate(zip(parts, value, strict=True)))
    if (kind is list or kind is tuple) and len(parts) == 1 and misfit(Named(hint.cls), value) is None:
        return kind(inside(parts[0], item, n) for n, item in enumerate(value))
    raise DoesNotFit(found)
