"""Instances of pydantic models, taken apart and put together by their state; no code of their class runs.

Where the class has other fields than the ones stored, those that are not stored take their defaults, as far as these
are data (see `defaults`). Pydantic's own rule holds: an excluded field is not stored, its default comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from types import NoneType
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL, MODEL_V1, declared_fields, private_attributes
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import KEPT, ClassLayout, layout_of
from charm_checkpoint.values.serde.defaults import changed, default_of, has_default
from charm_checkpoint.values.serde.fitting import differing, fit
from charm_checkpoint.values.serde.hooks import change_of
from charm_checkpoint.values.serde.kept import NO_STATE, Teller, is_state, kept_in, left_over, storable_kept
from charm_checkpoint.values.serde.others import check_others, storable_others
from charm_checkpoint.values.serde.rows import check_loaded, instrumented
from charm_checkpoint.values.serde.upgrades import is_due, names_set, upgraded, validated

logger = logging.getLogger("charm_checkpoint")

new_object = object.__new__
set_attribute = object.__setattr__
_warned: set[str] = set()

_SPACE = vars(BaseModel)
# The slots' own descriptors: nothing that a subclass puts over them runs, and they are quicker than `set_attribute`.
set_fields = _SPACE["__dict__"].__set__
_get_fields = _SPACE["__dict__"].__get__
set_names = _SPACE["__pydantic_fields_set__"].__set__
get_names = _SPACE["__pydantic_fields_set__"].__get__
set_extra = _SPACE["__pydantic_extra__"].__set__
get_private = _SPACE["__pydantic_private__"].__get__
set_private = _SPACE["__pydantic_private__"].__set__


class Finder(Teller, Protocol):
    """Finds the class of a stored name, if this reader may restore it."""

    def find(self, name: str, kind: int, fields: Collection[str] = ()) -> tuple[Any, ClassLayout]:
        """Return the class, and how its objects are laid out; ``fields`` decide between several of that name."""
        ...

    def find_all(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        """Return all classes that may be meant by a name."""
        ...

    def keep(self, code: int, data: bytes, error: TypeNotLoaded, in_columns: bool = False) -> Any:
        """Return what stands for an object that cannot be restored, or raise the error that says why."""
        ...


def model_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, fields, fields set, extra, private, absent fields, others]``, without empty ones at the end."""
    state, extra, private = obj.__dict__, obj.__pydantic_extra__, obj.__pydantic_private__
    body = [layout.name, state, sorted(obj.__pydantic_fields_set__)]
    absent, others = None, None
    if layout.called:
        check_private(type(obj), layout, private)
    if layout.holds_unstored or len(state) != len(layout.fields) or KEPT in state:
        state = state.copy()  # another thread may change it
        stored = layout.names - layout.excluded
        body[1] = {k: v for k, v in state.items() if k in stored}
        body[2] = [name for name in body[2] if name not in layout.excluded]
        absent = [name for name in layout.fields if name not in state]
        others = {k: v for k, v in state.items() if k not in layout.names and k not in layout.derived}
        others = {**(others and storable_others(type(obj), others, ())), **storable_kept(state)}
        check_left_out(obj, layout, state)
    if layout.required and (unset := unset_attributes(layout, private)):
        absent = [*(absent or ()), *unset]
    if extra or private or absent or others:
        body += (extra or None, private or None, absent or None)
    return [*body, others] if others else body


def check_left_out(obj: Any, layout: ClassLayout, state: Mapping[str, Any]) -> None:
    """Refuse an instance of which something would neither be stored nor come back as a default."""
    cls = type(obj)
    for name in layout.excluded & state.keys():
        if not has_default(declared_fields(cls, layout.was)[name]):
            raise NotSerializable(
                f"{path_of(cls)}.{name} is excluded from what is stored and required, so it could not come back. Give "
                f"it a default, or call register_type({cls.__name__}, dump=…, load=…)."
            )
        if name in layout.called:
            raise NotSerializable(
                f"{path_of(cls)}.{name} is excluded from what is stored, and a function makes its default, which "
                f"reading does not call. Give it a plain default, such as None, or call register_type({cls.__name__})."
            )
    if layout.mapped:
        check_loaded(obj)


def check_private(cls: type, layout: ClassLayout, private: Mapping[str, Any] | None) -> None:
    """Refuse an instance that lacks a private attribute whose default a function of the program makes."""
    for name in (layout.called - (private or {}).keys()) & layout.private:
        raise NotSerializable(
            f"{path_of(cls)}.{name} is not set, and reading does not call the function that makes its default. Set it, "
            f"give it a plain default, or call register_type({cls.__name__})."
        )


def unset_attributes(layout: ClassLayout, private: Mapping[str, Any] | None) -> list[str]:
    """Return the private attributes without a default that an instance lacks, which its class may have meant."""
    return sorted(layout.required - (private or {}).keys())


def model_from_state(finder: Finder, name: str, state: dict[str, Any], fields_set: list[str], *rest: Any) -> Any:
    """Put a pydantic model together; the inverse of `model_to_state`."""
    cls, layout = finder.find(name, MODEL, state)
    extra, private, absent, *others = rest or (None, None, None)
    if type(absent) not in (list, NoneType):
        raise TypeError("names of fields are a list of text")
    kept = kept_in(others[0]) if others else None
    obj = build_model(finder, cls, layout, state, names_of(fields_set), extra, private, absent or (), kept)
    if others and others[0]:
        add_others(obj, *others)
    return obj


def add_others(obj: Any, others: Any) -> None:
    """Give an instance the attributes that it held besides its fields."""
    if not is_state(others):
        raise TypeError(NO_STATE)
    check_others(type(obj), others, ())
    _get_fields(obj).update(others)


def names_of(stored: Any) -> set[str]:
    """Return stored names of fields; raises TypeError for anything else, whose own hash would be asked."""
    if type(stored) is not list:
        raise TypeError("names of fields are a list of text")
    "".join(stored)
    return set(stored)


def build_model(
    finder: Finder,
    cls: Any,
    layout: ClassLayout,
    state: dict[str, Any],
    fields_set: set[str],
    extra: dict[str, Any] | None,
    private: dict[str, Any] | None,
    absent: Any = (),
    kept: dict[str, Any] | None = None,
) -> Any:
    """Put a pydantic model together from what was stored: a bare instance, whose attributes are set.

    Raises TypeError for what is no state of a model, and TypeNotLoaded for one that the class does not take any more.
    """
    if type(state) is not dict or not (extra is None or is_state(extra)) or not (private is None or is_state(private)):
        raise TypeError(NO_STATE)
    missing, unset = _parted(absent) if absent else _NOTHING
    if state.keys() != layout.names or layout.changed is not None or kept or (extra and not layout.allows_extra):
        stored = _Stored(state, fields_set, extra or {}, private or {}, missing, kept or {}, unset)
        if not stored.is_whole(layout):
            return _rebuilt(finder, cls, layout, stored)
    if layout.private:
        private = private or {}
        if private.keys() != layout.private:
            private, gone = private_state(finder, cls, layout, private, state, unset)
            if gone:
                state[KEPT] = gone
    elif private:
        if gone := left_over(finder, cls, layout, private):
            state[KEPT] = gone
        private = None
    return _bare(cls, layout, state, fields_set, extra, private)


def _bare(
    cls: Any,
    layout: ClassLayout,
    state: dict[str, Any],
    fields_set: set[str],
    extra: dict[str, Any] | None,
    private: dict[str, Any] | None,
) -> Any:
    obj = new_object(cls)
    set_fields(obj, state)
    set_names(obj, fields_set)
    if layout.is_root_model:  # its extra and private state are constants of the class, not slots
        return obj
    set_extra(obj, (extra or {}) if layout.allows_extra else None)
    set_private(obj, private if layout.private else None)
    return instrumented(obj) if layout.mapped else obj


def _parted(absent: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Return the fields that an instance lacked, and the private attributes."""
    names = names_of(absent)
    unset = frozenset(name for name in names if name[:1] == "_")
    return frozenset(names - unset), unset


_NOTHING: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()


class _Stored(NamedTuple):
    """What is stored of a model whose class is another now, or that is not whole."""

    fields: dict[str, Any]
    names: set[str]
    extra: dict[str, Any]
    private: dict[str, Any]
    absent: frozenset[str]
    kept: dict[str, Any]
    unset: frozenset[str]
    """Private attributes that were not there."""

    def is_whole(self, layout: ClassLayout) -> bool:
        """Say whether all is as the class has it, but for fields that were not there when it was stored."""
        if layout.changed is not None or self.kept or self.extra or not self.absent:
            return False
        return self.fields.keys() | self.absent == layout.names


def _rebuilt(finder: Finder, cls: Any, layout: ClassLayout, stored: _Stored) -> Any:
    """Put a model together of which another was stored than its class has now."""
    state, names, extra, private, absent, kept, unset = stored
    differ = differing(layout, state.keys() | absent)
    change = change_of(cls)
    more = {} if layout.allows_extra else extra
    if change is not None and is_due(change, cls, layout, differ, {**more, **state}, absent):
        before = {**kept, **extra, **state}
        state, extra, kept = upgraded(cls, change, layout.changed, before), {}, {}
        if change.validate:
            return _validated(finder, cls, layout, state, before.keys() - names, private)
        names = names_set(before, state, names)
    whole, rest, renamed = fit(finder, cls, layout, {**kept, **extra, **state}, absent, differ)
    if layout.allows_extra:  # but no private attribute that was kept
        extra = {name: value for name, value in rest.items() if name in extra or name[:1] != "_"}
        rest = {name: value for name, value in rest.items() if name not in extra}
    else:
        extra = {}
    names = {renamed.get(name, name) for name in names} & (layout.names | extra.keys())
    attributes, gone = private_state(finder, cls, layout, {**rest, **private}, whole, unset)
    if gone:
        whole[KEPT] = gone
    return _bare(cls, layout, whole, names, extra, attributes)


def _validated(
    finder: Finder,
    cls: Any,
    layout: ClassLayout,
    fields: dict[str, Any],
    unset: Collection[str],
    private: dict[str, Any],
) -> Any:
    """Return the model that its class makes of fields, with the private attributes that were stored."""
    obj, rest, renamed = validated(finder, cls, layout, fields)
    names = get_names(obj)
    set_names(obj, names - {renamed.get(name, name) for name in unset})
    if layout.is_root_model:
        left_over(finder, cls, layout, {**rest, **private})
        return obj
    if found := {name: private[name] for name in layout.private & private.keys()}:
        set_private(obj, {**(get_private(obj) or {}), **found})
    gone = {name: value for name, value in private.items() if name not in layout.private}
    if gone := left_over(finder, cls, layout, {**rest, **gone}):
        _get_fields(obj)[KEPT] = gone
    return obj


def private_state(
    finder: Finder,
    cls: Any,
    layout: ClassLayout,
    stored: dict[str, Any],
    fields: dict[str, Any],
    unset: Collection[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the private attributes, those that are not stored with their defaults; and what is kept of all others.

    One without a default may be missing only if it was ``unset`` when the model was stored: raises TypeNotLoaded, which
    names it, for any other.
    """
    if missing := sorted(layout.required - stored.keys() - set(unset)):
        raise TypeNotLoaded(changed(cls, f"nothing is stored for its private attribute {missing[0]!r}"))
    state = {name: value for name, value in stored.items() if name in layout.private}
    for name, attribute in private_attributes(cls).items() if len(state) < len(layout.private) else ():
        if name not in state and has_default(attribute):
            state[name] = default_of(cls, name, attribute, layout.trusted, state, fields)
    gone = {name: value for name, value in stored.items() if name not in layout.private}
    return state, left_over(finder, cls, layout, gone)


# -- what may stay behind ---------------------------------------------------------------------------------------------


PRIVATE = {MODEL: (4, 6), MODEL_V1: (3,)}
"""Where a model's body has private attributes, and others that pydantic does not know of."""


def may_drop(obj: Any, name: str, reason: NotSerializable) -> bool:
    """Say, and warn, that an attribute which cannot be stored may stay behind: its default comes back."""
    cls = type(obj)
    attribute = private_attributes(cls).get(name)
    layout = layout_of(cls)
    if attribute is not None and (not has_default(attribute) or (layout is not None and name in layout.called)):
        return False
    if f"{path_of(cls)}.{name}" not in _warned:
        _warned.add(f"{path_of(cls)}.{name}")
        logger.warning("%s.%s is not stored; its default comes back: %s", path_of(cls), name, reason)
    return True


def private_advice(cls: type, name: str) -> str:
    """Return what to do with a private attribute that can neither be stored nor come back as its default."""
    advice = "Or give the private attribute a plain default, such as None, which then comes back"
    declared = private_attributes(cls).get(name)
    if declared is not None and has_default(declared):
        return f"{advice}; or call register_type({cls.__name__}), so that reading calls what makes its default."
    return f"{advice}."
