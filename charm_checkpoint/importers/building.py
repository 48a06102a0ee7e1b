"""Objects from what LangGraph's serializer wrote of them: a module, a name and arguments.

Those names come from data, so nothing is imported or called for their sake. What revives is one
of the plain types below, or a data class that this process has loaded already; its constructor
runs, since the serializer kept arguments and not state.
"""

from __future__ import annotations

import decimal
import ipaddress
import pathlib
import re
import sys
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import pydantic

from charm_checkpoint.errors import DataError, TypeNotLoaded
from charm_checkpoint.importers.fields import made_of_fields
from charm_checkpoint.values.codes import ZONE
from charm_checkpoint.values.serde.class_fields import MODEL, MODEL_V1, NAMEDTUPLE, OBJECT, is_dataclass
from charm_checkpoint.values.serde.class_lookup import find_class
from charm_checkpoint.values.serde.classes import ClassLayout, layout_of
from charm_checkpoint.values.serde.dates import REAL
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES
from charm_checkpoint.values.serde.values import DECODERS

_SHORT = {long: short for short, long in SHORT_NAMES.items()}


def build(module: Any, name: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
    """Return what a stored name makes of its arguments.

    Raises `TypeNotLoaded` for a class that is not loaded or not one for data, and for one whose
    constructor refuses what was stored.
    """
    make = _PLAIN.get((module, name)) or _maker(module, name)
    try:
        return make(*args, **(kwargs or {}))
    except DataError:
        raise
    except Exception as error:
        raise TypeNotLoaded(f"{module}:{name} does not accept what was stored of it: {error!r}") from error


def call_method(module: Any, name: Any, method: Any, args: Sequence[Any]) -> Any:
    """Return what a stored method name makes of its arguments: only a few are known; raises as `build` does."""
    known = _METHODS.get((module, name, method))
    if known is None:
        raise TypeNotLoaded(f"the data asks to call {module}:{name}.{method}, which is not done")
    try:
        return known(*args)
    except (ValueError, TypeError) as error:
        raise TypeNotLoaded(f"{module}:{name}.{method} does not accept what was stored: {error!r}") from error


def _maker(module: Any, name: Any) -> Callable[..., Any]:
    spelled = f"{module}:{name}"
    try:
        cls: Any = find_class(_SHORT.get(spelled, spelled))
    except ImportError as error:
        raise TypeNotLoaded(f"{spelled} needs the package of {error.name}; install langgraph") from error
    plan = layout_of(cls)
    if plan is None:
        raise TypeNotLoaded(
            f"{spelled} is not a data class (pydantic model, dataclass, enum, named tuple) and not registered, so it "
            "is not called with stored data. If it is a class of yours, call register_type(cls)."
        )
    return partial(_made, cls, plan)


def _made(cls: Any, layout: ClassLayout, *args: Any, **fields: Any) -> Any:
    if args or layout.was not in _OF_FIELDS or (layout.was == OBJECT and not is_dataclass(cls)):
        return cls(*args, **fields)
    return made_of_fields(cls, layout, fields)


_OF_FIELDS = (MODEL, MODEL_V1, OBJECT, NAMEDTUPLE)


def _send(node: str, arg: Any, timeout: Any = None) -> Any:
    send: Any = find_class("Send")
    return send(node, arg) if timeout is None else send(node, arg, timeout=timeout)


def _zone(key: str) -> Any:
    return DECODERS[ZONE](key, cast(Any, None))


def _path_class(name: str) -> type[pathlib.PurePath]:
    """Return the class for a stored path; one of another system's paths cannot exist on this one."""
    foreign = pathlib.PurePosixPath if sys.platform == "win32" else pathlib.PureWindowsPath
    return foreign if foreign.__name__ == f"Pure{name}" else pathlib.Path


def _pattern(pattern: Any, flags: int = 0) -> re.Pattern[Any]:
    return re.compile(pattern, flags & ~re.DEBUG)


_PLAIN: dict[tuple[Any, Any], Callable[..., Any]] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "deque"): deque,
    ("decimal", "Decimal"): decimal.Decimal,
    ("uuid", "UUID"): uuid.UUID,
    ("zoneinfo", "ZoneInfo"): _zone,
    ("re", "compile"): _pattern,
    ("pydantic.types", "SecretStr"): pydantic.SecretStr,
    ("pydantic.types", "SecretBytes"): pydantic.SecretBytes,
    ("langgraph.types", "Send"): _send,
    **{("datetime", cls.__name__): cls for cls in (REAL.date, REAL.time, REAL.timedelta, REAL.timezone)},
    **{
        ("ipaddress", f"IPv{version}{kind}"): getattr(ipaddress, f"IPv{version}{kind}")
        for version in (4, 6)
        for kind in ("Address", "Interface", "Network")
    },
    **{
        (module, name): _path_class(name)
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath")
    },
}

_METHODS: dict[tuple[Any, Any, Any], Callable[..., Any]] = {
    ("datetime", "datetime", "fromisoformat"): REAL.datetime.fromisoformat,
    ("builtins", "bytes", "fromhex"): bytes.fromhex,
    ("builtins", "bytearray", "fromhex"): bytearray.fromhex,
}
