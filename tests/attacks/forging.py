"""How an attacker writes stored values by hand, without the classes' own code and without ours."""

from __future__ import annotations

from typing import Any

import ormsgpack

from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.class_fields import ENUM, MODEL, MODEL_V1, NAMEDTUPLE, OBJECT

SERDE = Serializer(on_unknown="raise")
MAP, SET, FROZENSET, TUPLE, CLASS = 5, 2, 3, 1, 30

__all__ = ["ENUM", "MODEL", "MODEL_V1", "NAMEDTUPLE", "OBJECT"]


def ext(code: int, *body: Any) -> Any:
    """Return an extension value of a code whose body is a list."""
    return ormsgpack.Ext(code, ormsgpack.packb(list(body)))


def named(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def instance(cls: type, **fields: Any) -> Any:
    """Return a model or dataclass with just these fields, whatever the class asks for."""
    if "__pydantic_fields__" in vars(cls) and not hasattr(cls, "__dataclass_fields__"):
        return ext(MODEL, named(cls), fields, list(fields))
    return ext(OBJECT, named(cls), fields)


def reference(cls: type) -> Any:
    """Return a class itself, as a value."""
    return ormsgpack.Ext(CLASS, named(cls).encode())


def stored(value: Any) -> bytes:
    """Return a forged value as a store has it."""
    return b"\x01" + ormsgpack.packb(value)


def read(value: Any) -> Any:
    """Return what a program gets for a forged value."""
    return SERDE.loads(stored(value))


def read_run(cls: type, *states: dict[str, Any]) -> list[Any]:
    """Return what a program gets for a forged run of models."""
    shapes = [[named(cls), []]]
    return SERDE.loads_many(b"\x03" + ormsgpack.packb([shapes, [0] * len(states), list(states)]))
