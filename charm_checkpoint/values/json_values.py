"""Values as plain JSON: copied where they are, made plain, or refused with their path; pure.

Subclasses of ``str``, ``int``, ``float``, ``list`` and ``dict``, members of enums that derive from these among them,
are what ``json.dumps`` takes them for: the plain value.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

from charm_checkpoint.errors import DataError, NotSerializable, PathPart
from charm_checkpoint.values.serde.arrays import is_array, is_scalar
from charm_checkpoint.values.serde.changes import refusal, settled
from charm_checkpoint.values.serde.class_fields import HOOKED, MODEL, MODEL_V1, OBJECT
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import is_value, layout_of
from charm_checkpoint.values.serde.dates import REAL
from charm_checkpoint.values.serde.objects import hooked_to_state, state_of
from charm_checkpoint.values.serde.unknown import Unknown
from charm_checkpoint.values.serde.values import ENCODERS
from charm_checkpoint.values.serde.walk import MAX_DEPTH

ATOMS = frozenset({type(None), str, int, bool, float})
"""Types of values that are plain JSON whatever they are, but for floats that are no numbers."""

_SOLID = ATOMS - {float}

Odd: TypeAlias = "Callable[[Any], Any]"
"""Makes JSON, or a container of other values, of a value that is none; or refuses it."""


def refuse_value(value: Any) -> Any:
    """Refuse what is not JSON."""
    shown = repr(value) if isinstance(value, float) else ""
    raise NotSerializable(f"{kind_of_value(value)} {shown}".rstrip() + " is not JSON; messages are kept as JSON")


def kind_of_value(value: Any) -> str:
    """Return what errors call a value that is not JSON."""
    if type(value) is Unknown:
        return f"an object that could not be restored, of {value.class_name or 'no class'},"
    return type(value).__name__


def checked(value: Any, odd: Odd = refuse_value) -> Any:
    """Copy a JSON value; refuse anything else, with its path, unless ``odd`` makes JSON of it. Tuples become lists."""
    return _whole(value, _Copy(odd, _refuse_key), MAX_DEPTH - 1)


def simplified(value: Any) -> Any:
    """Copy a value as JSON that needs no class to be read; refuse what is no data, with its path.

    An enum's member becomes its value if that is JSON, and its name if not; instances of data classes become objects,
    named tuples and sets lists, other safe types text.
    """
    return value if type(value) in ATOMS else _whole(value, _Copy(_simpler_value, _simpler_key), MAX_DEPTH - 2)


def _whole(value: Any, copy: _Copy, depth_left: int) -> Any:
    try:
        return settled(partial(copy.copy, depth_left=depth_left), value)
    except DataError:
        raise
    except RecursionError:
        raise NotSerializable(f"nested too deep, over {MAX_DEPTH} levels, or in itself") from None
    except Exception as exc:  # whatever the code of the value's class may raise
        raise refusal(value, exc) from exc


class _Copy:
    """One copy under way, by what becomes of values and keys that are not JSON."""

    def __init__(self, value: Odd, key: Odd) -> None:
        self._value = value
        self._key = key

    def copy(self, value: Any, depth_left: int) -> Any:
        """Copy a value that is nested ``depth_left`` levels deep at most."""
        if type(value) in ATOMS and not (type(value) is float and not math.isfinite(value)):
            return value
        kind = type(value)  # what else it passes for, a class of the program may say
        if issubclass(kind, str):
            return str.__str__(value)
        if issubclass(kind, int):
            return int.__int__(value)
        if issubclass(kind, float) and math.isfinite(value):
            return float.__float__(value)
        if not depth_left:
            raise NotSerializable(f"nested too deep, over {MAX_DEPTH} levels, or in itself")
        if issubclass(kind, Mapping):
            return self._object(_items(value), depth_left - 1)
        if issubclass(kind, list):
            return self._array(list.copy(value), depth_left - 1)
        if issubclass(kind, tuple):
            return self._array(tuple.__iter__(value), depth_left - 1)
        odd = self._value(value)
        return odd if type(odd) in ATOMS else self.copy(odd, depth_left)

    def _array(self, items: Any, depth_left: int) -> list[Any]:
        return [
            item if type(item) in _SOLID else self._at(number, item, depth_left) for number, item in enumerate(items)
        ]

    def _object(self, items: Any, depth_left: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in items:
            name = key if type(key) is str else str.__str__(key) if isinstance(key, str) else self._key(key)
            if name in made:
                raise NotSerializable("another key is the same as JSON", path=(name,))
            made[name] = item if type(item) in _SOLID else self._at(name, item, depth_left)
        return made

    def _at(self, step: PathPart, value: Any, depth_left: int) -> Any:
        try:
            return self.copy(value, depth_left)
        except DataError as error:
            raise error.at(step) from error.__cause__
        except Exception as exc:  # whatever the code of the value's class may raise
            raise refusal(value, exc).at(step) from exc


def _items(value: Any) -> Any:
    # Copies are made by one call: another thread may change what is copied.
    if isinstance(value, OrderedDict):
        return list(OrderedDict.items(value))
    return dict.copy(value).items() if isinstance(value, dict) else list(value.items())


def _refuse_key(key: Any) -> Any:
    raise NotSerializable(f"JSON's keys are text, not {type(key).__name__}", path=(repr(key),))


def _simpler_value(value: Any) -> Any:
    kind = type(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, Enum):
        held = value._value_
        return held if held is None or isinstance(held, (str, int, float)) else value._name_ or str(held)
    if is_value(kind):
        return str(value)
    plan = layout_of(kind)
    if plan is not None and plan.kind == HOOKED:
        return hooked_to_state(value, plan)[1]
    if plan is not None and plan.kind in (MODEL, MODEL_V1, OBJECT):
        return {name: item for name, item in state_of(value, plan).copy().items() if name not in plan.excluded}
    if issubclass(kind, (set, frozenset)):
        return sorted(map(simplified, list(value)), key=lambda item: json.dumps(item, sort_keys=True))
    if issubclass(kind, deque):
        return list(value)
    return _as_text(value)


def _simpler_key(key: Any) -> Any:
    if issubclass(type(key), Enum) and isinstance(key._value_, str):
        return str.__str__(key._value_)
    simple = simplified(key)
    return simple if type(simple) is str else json.dumps(simple)


def _as_text(value: Any) -> Any:
    kind = type(value)
    if issubclass(kind, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if issubclass(kind, (REAL.date, REAL.time)):
        return value.isoformat()
    if issubclass(kind, REAL.tzinfo):
        return str(value)
    if is_array(value) or is_scalar(value):
        return value.tolist()
    if issubclass(kind, type):
        return path_of(value)
    if issubclass(kind, BaseException):
        return repr(value)
    if any(base in ENCODERS for base in kind.__mro__):
        return str(value)
    raise NotSerializable(
        f"a {path_of(type(value)).removeprefix('builtins:')} is no data. Store its name, or what it stands for."
    )
