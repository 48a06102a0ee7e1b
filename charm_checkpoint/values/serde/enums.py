"""Members of enums, by name and value: a class that was written anew gives its own member, or says what it is now."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Flag
from functools import reduce
from operator import or_
from typing import Any

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import ENUM
from charm_checkpoint.values.serde.class_lookup import refuse_to_guess
from charm_checkpoint.values.serde.class_reading import (
    ATOMS,
    attribute,
    derives,
    module_of,
    mro_of,
    name_in_code,
    path_of,
    space_of_class,
)
from charm_checkpoint.values.serde.classes import ClassLayout, is_held, is_registered
from charm_checkpoint.values.serde.hooks import change_of
from charm_checkpoint.values.serde.keys import is_made
from charm_checkpoint.values.serde.models import Finder
from charm_checkpoint.values.serde.telling import Finding
from charm_checkpoint.values.serde.upgrades import upgraded


def enum_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, value, member]``: its value is None if it is neither text nor a number.

    A combination of flags has the names of all, with a ``|`` between them; or none, if there is more to it.
    Raises NotSerializable for what only a ``_missing_`` of the program's makes, unless the class is registered.
    """
    cls, value, member = type(obj), obj._value_, obj._name_
    plain = type(value) is str or type(value) is int
    if member not in cls._member_map_:
        if derives(cls, Flag):
            _check_combined(cls, value)
        member = _flags(cls, value)
        if not member and not (plain and (layout.trusted or _is_combination(cls, value))):
            raise NotSerializable(
                f"{path_of(cls)} has no member {obj._name_!r}: a _missing_ of its own made it, which reading does not "
                f"call. Add the member, store its value, or vouch for the class: register_type({cls.__name__})."
            )
    if not plain:
        return [layout.name, None, member]
    return [layout.name, value, member] if member else [layout.name, value]


def _is_combination(cls: type, value: Any) -> bool:
    return type(value) is int and derives(cls, Flag) and _combined(cls, value) is not None


def _check_combined(cls: type, value: Any) -> None:
    """Refuse a combination of flags that reading would not make."""
    if name := next((name for name in _ASKED if _owned(cls, name)), ""):
        raise NotSerializable(
            f"{path_of(cls)} has a {name} of its own, which making a combination of flags would run. Store the single "
            f"flags, or vouch for the class: register_type({cls.__name__})."
        )
    if type(value) is int and value.bit_length() > _BITS:
        raise NotSerializable(f"a combination of flags of more than {_BITS} bits is not stored. Store its value.")


def _flags(cls: Any, value: Any) -> str:
    """Return the names of the single flags that a combination is made of, empty if there is more to it."""
    if type(value) is not int:
        return ""
    single = {
        name: flag._value_ for name, flag in cls._member_map_.items() if _is_single(flag) and flag._value_ & value
    }
    return "|".join(single) if reduce(or_, single.values(), 0) == value else ""


def _is_single(flag: Any) -> bool:
    bits = flag._value_
    return type(bits) is int and bits > 0 and not bits & (bits - 1)


def enum_from_state(finder: Finder, name: str, value: Any, member: str | None = None) -> Any:
    """Return the member; the inverse of `enum_to_state`. Earlier versions stored a value, or a member's name."""
    if not _is_plain(value) or type(member) not in (str, type(None)):
        raise TypeError("an enum's member is stored by its name and a plain value")
    found_all = finder.find_all(name, ENUM)
    if len(found_all) == 1 and (change := change_of(found_all[0][0])) is not None:
        cls, layout = found_all[0]
        if change.is_older(layout.changed):
            return member_of(finder, cls, upgraded(cls, change, layout.changed, {"name": member, "value": value}))
    classes = [cls for cls, _ in found_all]
    found = [each for cls in classes if (each := _exact(cls, value, member)) is not None]
    if found and (len(classes) == 1 or member is not None or len({each._name_ for each in found}) == 1):
        return found[0]
    if len(classes) > 1 and not is_held(classes[0]):
        refuse_to_guess(name)
    return _nearest(finder, classes[0], value, member)


def member_of(finder: Finder, cls: Any, fields: dict[str, Any]) -> Any:
    """Return the member that an upgrade says, by its ``name``, its ``value`` or both; or raise TypeNotLoaded."""
    if not fields or not fields.keys() <= {"name", "value"}:
        raise TypeNotLoaded(f"the upgrade of {path_of(cls)} returned other fields than name and value.")
    value, member = fields.get("value"), fields.get("name")
    if not _is_plain(value) or type(member) not in (str, type(None)):
        raise TypeNotLoaded(f"the upgrade of {path_of(cls)} returned a name or a value that no member has.")
    found = _exact(cls, value, member)
    return found if found is not None else _nearest(finder, cls, value, member)


def _is_plain(value: Any) -> bool:
    """Say whether a stored value may be compared with those of members: no code of a class runs."""
    return type(value) in ATOMS or (type(value) is tuple and all(map(_is_plain, value)))


def _exact(cls: Any, value: Any, member: str | None) -> Any:
    """Return the member of that name and value, None if there is none."""
    if member is None:
        found = _valued(cls, value)
        return _combined(cls, value) if found is None and type(value) is int else found
    found = _member(cls, member)
    if found is None and "|" in member:
        flags = _named(cls, member)
        return _combined(cls, value) if flags and reduce(or_, flags) == value else None
    return found if found is not None and (value is None or _is_same(held(found), value)) else None


def _member(cls: type, name: str) -> Any:
    return space_of_class(cls)["_member_map_"].get(name)


def held(member: Any) -> Any:
    """Return the value of a member, as it stands there."""
    return object.__getattribute__(member, "_value_")


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and _is_plain(one) and one == other


def _valued(cls: type, value: Any) -> Any:
    """Return the member of a value, None if there is none; ``_missing_`` is not asked."""
    members = attribute(cls, "_member_map_").values()
    return next((member for member in members if _is_same(held(member), value)), None)


def _combined(cls: type, value: int) -> Any:
    """Return the combination of flags of a value, None for none: as Python's own ``_missing_`` makes it, no other."""
    members = attribute(cls, "_value2member_map_")
    if not derives(cls, Flag):
        return members.get(value) if ATOMS.issuperset(map(type, members)) else None
    if value.bit_length() > _BITS or any(_owned(cls, name) for name in _ASKED):
        return None
    known = members.get(value)
    if known is not None:
        return known
    kind = attribute(cls, "_member_type_")
    if kind is not object and kind is not int:
        return None
    bases = [base for base in mro_of(cls) if module_of(base) == "enum" and "_missing_" in space_of_class(base)]
    try:
        return space_of_class(bases[0])["_missing_"].__func__(cls, value)
    except ValueError:  # bits that no flag of the class has, of which it says that there may be none
        return None


_BITS = 4096
"""Bits of a combination of flags; Python keeps each one that it made for ever."""
_ASKED = ("__setattr__", "__getattribute__", "__getattr__", "__eq__", "__hash__", "_iter_member_", "_numeric_repr_")
"""What runs when a combination is made: no code of the program's."""


def _owned(cls: type, name: str) -> bool:
    """Say whether a program wrote a method of an enum, and did not vouch for it."""
    return not (is_made(cls, name) or is_registered(cls))


def _named(cls: Any, member: str) -> Sequence[int]:
    """Return the bits of flags by their names, none if one of them is gone."""
    flags = [_member(cls, name) for name in member.split("|")]
    return [flag._value_ for flag in flags] if all(flag is not None and _is_single(flag) for flag in flags) else ()


def _nearest(finder: Finder, cls: Any, value: Any, member: str | None) -> Any:
    """Return what a member of a class that changed since is now: the one of that name, or else of that value."""
    if member is not None:
        flags = _named(cls, member) if "|" in member else ()
        found = _combined(cls, reduce(or_, flags)) if flags else _member(cls, member)
        if found is None and value is not None:
            found = _valued(cls, value)
        if found is not None:
            return _told(finder, cls, member, value, found)
    found = _valued(cls, value)
    if found is None and type(value) is int:
        found = _combined(cls, value)
    if found is None and value is not None and is_registered(cls):
        return _asked(cls, value)
    if found is None:
        what = member if value is None else value
        raise TypeNotLoaded(
            f"{path_of(cls)} has no member {what!r} any more. Add it back; or say which one it is now: "
            f"register_type({name_in_code(cls)}, version=…, upgrade={{…}}); or, if a _missing_ of the class makes it "
            "of its value, vouch for the class by register_type alone."
        )
    return found


def _asked(cls: Any, value: Any) -> Any:
    """Return what a registered class itself makes of a value, as its ``_missing_`` may."""
    try:
        return cls(value)
    except Exception as exc:  # whatever a function of the program's may raise
        raise TypeNotLoaded(f"{path_of(cls)} has no member {value!r} any more. Add it back. ({exc!r})") from exc


def _told(finder: Finder, cls: Any, member: str, value: Any, found: Any) -> Any:
    name = ascii(member)[1:-1]
    said = f"{path_of(cls)}.{name} was stored with the value {value!r}; it is read as {found._name_} now."
    finder.tell(Finding("changed", path_of(cls), name, said))
    return found
