"""Members of enums, by name and value: a class that was written anew gives its own member, or says what it is now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_lookup import refuse_to_guess
from charm_checkpoint.values.serde.classes import ENUM, ClassLayout, is_held, path_of
from charm_checkpoint.values.serde.models import Finder, logger

_warned: set[str] = set()


def enum_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, value, member]``: its value is None if it is neither text nor a number.

    A combination of flags has the names of all, with a ``|`` between them; or none, if there is more to it.
    """
    value, member = obj._value_, obj._name_
    if type(value) not in (str, int):
        return [layout.name, None, member]
    if member not in type(obj)._member_map_:
        member = _flags(type(obj), value)
    return [layout.name, value, member] if member else [layout.name, value]


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
    classes = [cls for cls, _ in finder.find_all(name, ENUM)]
    found = [each for cls in classes if (each := _exact(cls, value, member)) is not None]
    if found and (len(classes) == 1 or member is not None or len({each._name_ for each in found}) == 1):
        return found[0]
    if len(classes) > 1 and not is_held(classes[0]):
        refuse_to_guess(name)
    return _nearest(classes[0], value, member)


def _exact(cls: Any, value: Any, member: str | None) -> Any:
    """Return the member of that name and value, None if there is none."""
    if member is None:
        return cls._value2member_map_.get(value)
    found = cls._member_map_.get(member)
    if found is None and "|" in member:
        flags = _named(cls, member)
        return cls(value) if flags and reduce(or_, flags) == value else None
    return found if found is not None and (value is None or found._value_ == value) else None


def _named(cls: Any, member: str) -> Sequence[int]:
    """Return the bits of flags by their names, none if one of them is gone."""
    flags = [cls._member_map_.get(name) for name in member.split("|")]
    return [flag._value_ for flag in flags] if all(flag is not None and _is_single(flag) for flag in flags) else ()


def _nearest(cls: Any, value: Any, member: str | None) -> Any:
    """Return what a member of a class that changed since is now: the one of that name, or else of that value."""
    if member is not None:
        flags = _named(cls, member) if "|" in member else ()
        found = cls(reduce(or_, flags)) if flags else cls._member_map_.get(member)
        if found is None and value is not None:
            found = cls._value2member_map_.get(value)
        if found is not None:
            return _told(cls, member, value, found)
    try:
        return cls(value)  # a combination of flags, or what the class itself makes of a former value
    except (ValueError, TypeError, KeyError) as exc:
        raise TypeNotLoaded(
            f"{path_of(cls)} has no member {member if value is None else value!r} any more. Add it back."
        ) from exc


def _told(cls: Any, member: str, value: Any, found: Any) -> Any:
    what = f"{path_of(cls)}.{member}"
    if what not in _warned:
        _warned.add(what)
        logger.warning("%s was stored with the value %r; it is read as %s now.", what, value, found._name_)
    return found
