"""What the bodies of stored objects are made of: looked at before any decoder takes them.

A decoder that is given something else would not only fail in its own way. It would go over whatever can be gone over:
every address of a network, every number of a range, or what the code of a program's class says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any, Final, TypeAlias

from charm_checkpoint.errors import NewerFormat, TypeNotLoaded
from charm_checkpoint.values import codes
from charm_checkpoint.values.serde import values
from charm_checkpoint.values.serde.dates import REAL
from charm_checkpoint.values.serde.kinds import KindChanged, read_as_another
from charm_checkpoint.values.serde.models import Finder
from charm_checkpoint.values.serde.objects import FROM_STATE
from charm_checkpoint.values.serde.unknown import Unknown

Types: TypeAlias = "tuple[type, ...]"
"""Of what types a part of a body may be."""

_NONE: Final = type(None)
_WHOLE = (int, bool)

BODIES: Mapping[int, Types] = {
    **dict.fromkeys((codes.TUPLE, codes.SET, codes.FROZENSET, codes.MAP), (list,)),
    **dict.fromkeys((codes.DATE, codes.ZONE), (str,)),
    **dict.fromkeys((codes.DATETIME, codes.TIME), (str, list)),
    codes.SECRET: (str, bytes),
    codes.TZ_INFO: _WHOLE,
}
"""Of what type a body is that is taken as one."""

PARTS: Mapping[int, tuple[int, tuple[Types, ...]]] = {
    codes.DEQUE: (2, ((*_WHOLE, _NONE), (list,))),
    codes.COMPLEX: (2, ((float,), (float,))),
    codes.TIMEDELTA: (3, (_WHOLE, _WHOLE, _WHOLE)),
    codes.TIMEZONE: (1, ((REAL.timedelta,), (str,))),
    codes.FRACTION: (2, (_WHOLE, _WHOLE)),
    codes.RANGE: (3, (_WHOLE, _WHOLE, _WHOLE)),
    codes.ADDRESS: (2, ((str,), (str,))),
    codes.PATH: (2, ((str,), (str,))),
    codes.PATTERN: (2, ((str, bytes), (int, re.RegexFlag))),  # 0.1 stored flags as the enum
    codes.ORDERED: (1, ((dict,),)),
    codes.DEFAULT: (2, ((str, _NONE), (dict,))),
    codes.COUNTER: (1, ((dict,),)),
    codes.ARRAY: (4, ((str, list), (list,), (str,), (bytes,))),
    codes.SCALAR: (2, ((str, list), (bytes,))),
    codes.URL: (2, ((str,), (str,))),
}
"""Of a body that is a list: how many parts it has at least, and of what types these are."""


_MOMENTS = frozenset({codes.DATETIME, codes.TIME})
_TREES = frozenset({codes.ARRAY, codes.SCALAR})
"""Codes whose body may hold lists in lists, of plain values: C code would ask others for a number."""

_PLAIN = frozenset({*_WHOLE, _NONE, float, str, bytes})


def _shapes(least: int, parts: tuple[Types, ...]) -> frozenset[tuple[type, ...]]:
    """Return all sequences of types that there may be."""
    return frozenset(shape for count in range(least, len(parts) + 1) for shape in product(*parts[:count]))


_SHAPES = {code: _shapes(*told) for code, told in PARTS.items()}


def decode(code: int, body: Any, finder: Finder) -> Any:
    """Return the value of a code and body; the inverse of `values.encode`.

    Raises TypeNotLoaded where this process cannot restore it, and KeyError, TypeError, ValueError and the like where
    the body is not one that `values.encode` makes.
    """
    make = FROM_STATE.get(code)
    if make is not None:  # it looks at the parts itself, before it takes them
        if type(body) is not list:
            raise _wrong(code, body)
        try:
            return make(finder, *body)
        except KindChanged as error:
            return read_as_another(finder, error, code, body)
    decoder = values.DECODERS.get(code)
    if decoder is None:
        raise NewerFormat.of("A stored value holds an object of code", code)
    types = BODIES.get(code)
    if types is None:
        _check_parts(code, body)
    elif type(body) not in types or (type(body) is list and code in _MOMENTS and not _is_moment(body)):
        raise _wrong(code, body)
    return decoder(body, finder)


def _is_moment(body: list[Any]) -> bool:
    """Say whether a text and a fold stand first; C code looks whether what follows is a time zone."""
    return len(body) == 3 and type(body[0]) is str and type(body[1]) is int


def _check_parts(code: int, body: Any) -> None:
    shapes = _SHAPES.get(code)
    if shapes is None:
        return
    if type(body) is not list or tuple(map(type, body)) not in shapes:
        if type(body) is list and body and type(body[-1]) is Unknown:  # a dict with keys of another class
            raise TypeNotLoaded(body[-1].reason)
        raise _wrong(code, body)
    if code in _TREES:
        _check_tree(body)


def _check_tree(body: Any) -> None:
    todo = [body]
    while todo:
        for each in todo.pop():
            if type(each) in (list, tuple):
                todo.append(each)
            elif type(each) not in _PLAIN:
                raise TypeError(f"the body of a plain value holds a {type(each).__name__}")


def _wrong(code: int, body: Any) -> TypeError:
    names = ", ".join(type(part).__name__ for part in body[:8]) if type(body) is list else ""
    return TypeError(f"the body of an object of code {code} is a {type(body).__name__} of {names or 'something else'}")
