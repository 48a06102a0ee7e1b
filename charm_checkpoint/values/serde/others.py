"""Attributes that an object has besides its fields: data, and nothing that stands in the place of its class's code.

An attribute of an instance wins over a method of its class, and so a stored ``allows = bool`` would be what the program
calls for its decisions.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from typing import Any

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.class_reading import attribute, path_of
from charm_checkpoint.values.serde.classes import is_registered

_CODE = (types.FunctionType, types.BuiltinFunctionType, classmethod, staticmethod, type)
_NONE = object()


def storable_others(cls: type, attributes: Mapping[str, Any], slots: Collection[str]) -> dict[str, Any]:
    """Return the attributes without those that only keep what a descriptor made, as a cached property does.

    Raises NotSerializable for one that reading would refuse.
    """
    kept = {name: value for name, value in attributes.items() if name in slots or not _is_derived(cls, name)}
    for name, value in kept.items():
        if why := _why_not(cls, name, value, slots):
            raise NotSerializable(f"the attribute {name!r} of this {path_of(cls)} {why}. {_advice(cls, name, value)}")
    return kept


def check_others(cls: type, attributes: Mapping[str, Any], slots: Collection[str]) -> None:
    """Raise TypeNotLoaded for a stored attribute that stands over the class's code, or is code itself."""
    for name, value in attributes.items():
        if why := _why_not(cls, name, value, slots):
            raise TypeNotLoaded(f"the attribute {name!r} that is stored of a {path_of(cls)} {why}, which is not read")


def _advice(cls: type, name: str, value: Any) -> str:
    if _is_called(value) and not _why_not(cls, name, None, ()):
        return f"Make it a field, remove it, or vouch for the class: register_type({cls.__name__})."
    return "Make it a field, give it another name, or remove it."


def _is_derived(cls: type, name: str) -> bool:
    found = attribute(cls, name, _NONE)
    return not isinstance(found, _CODE) and attribute(type(found), "__get__") is not None


def _why_not(cls: type, name: str, value: Any, slots: Collection[str]) -> str:
    # What a registered class holds besides fields is the program's own word, as long as it is in no method's place.
    called = "is a class or can be called" if _is_called(value) and not is_registered(cls) else ""
    if name in slots:
        return called
    if name.startswith("__") and name.endswith("__"):
        return "has a name that Python has a meaning for"
    found = attribute(cls, name, _NONE)
    if isinstance(found, _CODE) or any(attribute(type(found), n) is not None for n in ("__get__", "__call__")):
        return "stands in the place of code of its class"
    return called


def _is_called(value: Any) -> bool:
    return attribute(type(value), "__call__") is not None
