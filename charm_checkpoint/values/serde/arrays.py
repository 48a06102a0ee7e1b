"""NumPy arrays and scalars as bytes and a dtype. NumPy is loaded only once there is one to read."""

from __future__ import annotations

import importlib
import sys
from math import prod
from typing import Any

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded

MOST_EMPTY = 1 << 20
"""Items of no bytes that an array may have: nothing else bounds them."""
LONGEST_TEXT, MOST_FIELDS, DEEPEST = 100, 10_000, 40
"""How long the description of a dtype may be: characters of a plain one; parts of a structured one, and their depth."""

_SIZES = frozenset((int,))


def is_array(value: Any) -> bool:
    """Say whether a value is a plain NumPy array, in memory or in a file; other subclasses may hold more."""
    return type(value) in (_loaded("ndarray"), _loaded("memmap"))


def is_scalar(value: Any) -> bool:
    """Say whether a value is a NumPy scalar, such as ``numpy.float64(1)``."""
    return _loaded("generic") in type(value).__mro__


def _loaded(name: str) -> Any:
    """Return a class of NumPy, or None while nobody has loaded it or another thread is only about to."""
    return getattr(sys.modules.get("numpy"), name, None)


def is_scalar_type(cls: type) -> bool:
    """Say whether a class is one of NumPy's scalars, some of which derive from ``float`` or ``str``."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(cls, numpy.generic)


def array_to_state(array: Any) -> list[Any]:
    """Return ``[dtype, shape, order, bytes]``."""
    if not array.itemsize and array.size > MOST_EMPTY:
        raise NotSerializable(f"a NumPy array of {array.size:,} items of no bytes is not stored. Store its shape.")
    flags = array.flags
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    return [_describe(array.dtype), list(array.shape), order, array.tobytes(order)]


def scalar_to_state(scalar: Any) -> list[Any]:
    """Return what makes a NumPy scalar again: its type, its bytes."""
    return [_describe(scalar.dtype), scalar.tobytes()]


def array_from_state(descr: Any, shape: list[int], order: str, data: bytes) -> Any:
    """Return an array that owns its data and may be written to.

    NumPy is asked for none that is not as large as its data: it would go through all items, also of those that take
    no bytes.
    """
    numpy = _numpy()
    dtype = _dtype(numpy, descr)
    if not _SIZES.issuperset(map(type, shape)) or (shape and min(shape) < 0):
        raise ValueError(f"an array has no shape {shape!r:.80}")
    count = prod(shape)
    if count * dtype.itemsize != len(data) or (not dtype.itemsize and count > MOST_EMPTY):
        raise ValueError(f"{len(data)} bytes do not make an array of shape {shape!r:.80}")
    return numpy.ndarray(tuple(shape), dtype, data, order=order).copy(order)


def scalar_from_state(descr: Any, data: bytes) -> Any:
    """Return the scalar of a type that these bytes are."""
    return array_from_state(descr, [], "C", data)[()]


def _describe(dtype: Any) -> Any:
    """Return the text (or, for structured types, the list) that makes this very dtype again."""
    numpy = _numpy()
    if dtype.hasobject:
        raise NotSerializable(f"a NumPy array of dtype {dtype} holds Python objects. Use value.tolist().")
    descr = dtype.descr if dtype.names else dtype.str
    if not dtype.names and numpy.dtype(descr).type is not dtype.type:
        descr = {"big": ">", "little": "<"}[sys.byteorder] + dtype.char  # long long beside long
    if _is_long(descr):
        raise NotSerializable(f"a NumPy array of a dtype with more than {MOST_FIELDS} fields is not stored.")
    if _dtype(numpy, descr) != dtype or _dtype(numpy, descr).type is not dtype.type:
        raise NotSerializable(f"a NumPy array of dtype {dtype!r} cannot be described in text. Use value.tolist().")
    return descr


def _is_long(descr: Any) -> bool:
    """Tell whether a description is longer, or nested deeper, than NumPy should be asked to make a dtype of."""
    if isinstance(descr, str):
        return len(descr) > LONGEST_TEXT
    level, count = [descr], 0
    for _ in range(DEEPEST):
        count += len(level)
        if count > MOST_FIELDS:
            return True
        level = [part for each in level if isinstance(each, (list, tuple)) for part in each]
        if not level:
            return False
    return True


def _dtype(numpy: Any, descr: Any) -> Any:
    if _is_long(descr):
        raise ValueError("a dtype has too long a description")
    dtype = numpy.dtype(descr) if isinstance(descr, str) else numpy.lib.format.descr_to_dtype(descr)
    if dtype.hasobject:  # its bytes would be addresses in memory
        raise ValueError(f"dtype {dtype} holds Python objects")
    return dtype


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as exc:
        raise TypeNotLoaded(f"this is a NumPy value, and NumPy cannot be imported ({exc}). Install numpy.") from exc
