"""Objects that were stored as another kind of class than their class is now: a dataclass that became a model, say.

What an object of one kind holds are fields by their names, and so are those of another. Where the fields are just those
that the class has now, each of its type, the object is made of them; else the program's upgrade says what they become.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import (
    ENUM,
    HOOKED,
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    SUBCLASS,
    is_dataclass,
)
from charm_checkpoint.values.serde.class_reading import name_in_code, path_of
from charm_checkpoint.values.serde.classes import KINDS, ClassLayout, layout_of, stored_name
from charm_checkpoint.values.serde.conversion import DoesNotFit, converted
from charm_checkpoint.values.serde.enums import member_of
from charm_checkpoint.values.serde.field_hints import entries_of
from charm_checkpoint.values.serde.fitting import fit
from charm_checkpoint.values.serde.hints import ANYTHING, article
from charm_checkpoint.values.serde.hooks import Change, change_of
from charm_checkpoint.values.serde.kept import NO_STATE, is_state, kept_in, shown
from charm_checkpoint.values.serde.matching import told
from charm_checkpoint.values.serde.models import Finder, build_model, names_of
from charm_checkpoint.values.serde.models_v1 import build_model_v1
from charm_checkpoint.values.serde.objects import build_namedtuple, build_object
from charm_checkpoint.values.serde.stored_names import Changed
from charm_checkpoint.values.serde.telling import Finding
from charm_checkpoint.values.serde.upgrades import upgraded, validated


class KindChanged(TypeNotLoaded):
    """A class was of another kind when an object of it was stored."""

    def __init__(self, name: str, kind: int, cls: Any, layout: ClassLayout | None) -> None:
        stored = article(KINDS.get(kind, "data class"))
        now = article("TypedDict" if layout is None else KINDS[layout.kind])
        self.said = f"{name} was stored as {stored} and is now {now}"
        super().__init__(f"{self.said}. Rename one of them, or {_advice(cls)}.")
        self.cls = cls
        self.layout = layout
        """How objects of the class are laid out, None for a ``TypedDict``, whose objects are plain dicts."""


class _Held(NamedTuple):
    """What is stored of an object, of whatever kind."""

    fields: dict[str, Any]
    names: set[str]
    """Those of the fields that were set, and not left to their defaults."""
    rest: dict[str, Any]
    """What it holds besides its fields."""


def read_as_another(finder: Finder, error: KindChanged, code: int, body: list[Any]) -> Any:
    """Return the object that a class of another kind is now, of what was stored of it.

    Raises TypeNotLoaded where the fields are not just those of the class, and nothing says what they become.
    """
    cls, layout = error.cls, error.layout
    held = _held(code, body)
    made_of_fields = code in _OF_FIELDS and (layout is None or _is_of_fields(cls, layout))
    if not made_of_fields and not _has_upgrade(change_of(cls)):
        raise error
    try:
        made = _entries(finder, cls, held) if layout is None else _taken(finder, cls, layout, held)
    except TypeNotLoaded as why:
        raise TypeNotLoaded(f"{error.said}: {why.reason}") from why
    finder.tell(Finding("changed", path_of(cls), "", f"{error.said}, and what is stored is read as that."))
    return made


def _has_upgrade(change: Change | None) -> bool:
    return change is not None and (change.upgrade is not None or bool(change.steps))


def _taken(finder: Finder, cls: Any, layout: ClassLayout, held: _Held) -> Any:
    """Return the object that a class makes of what was stored, after what its program says becomes of that."""
    change = change_of(cls)
    if change is not None and _has_upgrade(change):
        fields = upgraded(cls, change, layout.changed, {**held.rest, **held.fields})
        held = _Held(fields, {name for name in fields if name in held.names or name not in held.fields}, {})
    if change is not None and change.validate and _is_of_fields(cls, layout):
        return validated(finder, cls, layout, held.fields, None).made
    return _built(finder, cls, layout, held)


def made_of(finder: Finder, cls: Any, fields: dict[str, Any]) -> Any:
    """Return an object of a data class that has just these fields, which were stored as a plain dict.

    Raises TypeNotLoaded where they are not just its own, and where this reader may not restore the class.
    """
    layout = layout_of(cls)
    if layout is None or not _is_of_fields(cls, layout) or not is_state(fields):
        raise TypeNotLoaded(f"a dict does not become a {path_of(cls)}")
    if finder.find(stored_name(cls, layout), layout.kind, fields)[0] is not cls:
        raise TypeNotLoaded(f"{path_of(cls)} is the name of another class, too")
    layout = replace(layout, changed=Changed(None, ()))  # of which nothing is known
    return _taken(finder, cls, layout, _Held(fields, set(fields), {}))


def _entries(finder: Finder, cls: type, held: _Held) -> dict[str, Any]:
    """Return the dict that an object of a class is which became a ``TypedDict``."""
    hints, required = entries_of(cls)
    fields = {**held.rest, **held.fields}
    if missing := sorted(required - fields.keys()):
        raise TypeNotLoaded(f"nothing is stored for its key {missing[0]!r}.")
    made = {}
    for name, value in fields.items():
        if hints and name not in hints:
            raise TypeNotLoaded(f"it does not have the stored key {shown(name)}.")
        hint = hints.get(name, ANYTHING)
        try:
            made[name] = converted(hint, value, finder.made_of)
        except DoesNotFit as misfit:
            raise TypeNotLoaded(f"its key {name!r} {told(hint, misfit.found)}.") from None
    return made


_OF_FIELDS = frozenset({MODEL, MODEL_V1, OBJECT, NAMEDTUPLE})


def _is_of_fields(cls: Any, layout: ClassLayout) -> bool:
    return layout.was in _OF_FIELDS and (layout.was != OBJECT or is_dataclass(cls))


def _held(code: int, body: list[Any]) -> _Held:
    """Return what the body of an object of some kind holds; raises TypeError for what none does."""
    _, first, *parts = body
    if code == ENUM:
        return _Held({"name": parts[0] if parts else None, "value": first}, set(), {})
    if code == HOOKED or code == SUBCLASS:
        fields = first if is_state(first) else {"value": first}
        return _Held(fields, set(fields), parts[0] if parts and is_state(parts[0]) else {})
    if not is_state(first):
        raise TypeError(NO_STATE)
    if code == MODEL:
        names, extra, private, _, others = [*parts, None, None, None, None][:5]
        return _Held(first, names_of(names), _joined(extra, private, others))
    if code == MODEL_V1:
        return _Held(first, names_of(parts[0]), _joined(parts[1]))
    return _Held(first, set(first), _joined(parts[0] if code == OBJECT and parts else None))


def _joined(*parts: Any) -> dict[str, Any]:
    """Return all that an object holds besides its fields."""
    joined: dict[str, Any] = {}
    for part in parts:
        joined.update(kept_in(part))
        if not (part is None or is_state(part)):
            raise TypeError(NO_STATE)
        joined.update(part or {})
    return joined


def _built(finder: Finder, cls: Any, layout: ClassLayout, held: _Held) -> Any:
    if layout.was == ENUM:
        return member_of(finder, cls, held.fields)
    if not _is_of_fields(cls, layout):
        if layout.was == OBJECT:
            return build_object(finder, cls, replace(layout, changed=None), held.fields, held.rest)
        raise TypeNotLoaded(f"no fields make a {KINDS[layout.was]}")
    declared = {name: value for name, value in held.rest.items() if name in layout.names}
    whole, rest, renamed = fit(finder, cls, layout, {**declared, **held.fields}, (), None)
    if rest and not layout.allows_extra:
        names = ", ".join(map(shown, rest))
        raise TypeNotLoaded(f"it does not have the stored {names} any more. To say what becomes of it, {_advice(cls)}")
    same = replace(layout, changed=None)
    were_set = {renamed.get(name, name) for name in held.names}
    private = {name: value for name, value in held.rest.items() if name in layout.private}
    others = {name: value for name, value in held.rest.items() if name not in private and name not in declared}
    if layout.was == MODEL:
        return build_model(finder, cls, same, whole, were_set, rest, private, (), others)
    others.update(private)
    if layout.was == MODEL_V1:
        return build_model_v1(finder, cls, same, {**whole, **rest}, were_set, others)
    if layout.was == NAMEDTUPLE:
        return build_namedtuple(finder, cls, same, {**others, **whole})
    return build_object(finder, cls, same, {**others, **whole})


def _advice(cls: Any) -> str:
    return f"register_type({name_in_code(cls)}, upgrade=…)"
